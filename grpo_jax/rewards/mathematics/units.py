"""Units of answers: which words are the same unit, and how far apart two units of one kind are."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True)
class Unit:
    """What a number counts; numbers in units of one kind are comparable by their factors."""

    kind: tuple[str, ...]  # kinds of base units, sorted, once for each power; those divided by carry a "/"
    factor: Fraction = Fraction(1)


PERCENT = Unit(("percent",), Fraction(1, 100))
DEGREE = Unit(("degree",))
MONEY = Unit(("money",))

# Words that scale the number before them.
SCALES = {
    "hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12, "dozen": 12,
}  # fmt: skip

FACTORS: dict[str, dict[str, str]] = {
    "length": {
        "mm millimeter millimetre": "0.001", "cm centimeter centimetre": "0.01", "m meter metre": "1",
        "km kilometer kilometre": "1000", "in inch inche inches": "0.0254", "ft foot feet": "0.3048",
        "yd yard": "0.9144", "mi mile": "1609.344",
    },
    "mass": {
        "mg milligram": "0.000001", "g gram": "0.001", "kg kilogram": "1", "lb pound": "0.45359237",
        "oz ounce": "0.028349523125",
    },
    "time": {"s sec second": "1", "min minute": "60", "h hr hour": "3600", "day": "86400", "week": "604800"},
    "volume": {"ml mL milliliter millilitre": "0.001", "l L liter litre": "1"},
    "money": {"dollar USD buck": "1", "cent": "0.01"},
    "percent": {"percent": "0.01"},
    "degree": {"degree deg": "1"},
}  # fmt: skip
UNITS = {
    name: Unit((kind,), Fraction(factor))
    for kind, factors in FACTORS.items()
    for names, factor in factors.items()
    for name in names.split()
}

POWERS = {"square": 2, "sq": 2, "cubic": 3, "cu": 3}
ABBREVIATED = {"mph": ("mi", "per", "h"), "kph": ("km", "per", "h"), "kmh": ("km", "per", "h")}
NOTHING = frozenset(("unit", "of", "the", "a", "in", "total"))  # words that say no unit


def read(words: Sequence[str]) -> Unit | None:
    """The unit that words such as ("square", "centimeters") or ("m", "/", "s", "^", "2") name; None if they name none.

    A word in no table is a kind of its own, whatever its case and plural.
    """
    factor, kind, power, sign = Fraction(1), list[str](), 1, 1
    spelt = [part for word in words for part in ABBREVIATED.get(word, (word,))]
    last: tuple[Unit, int] | None = None
    for word in spelt:
        if word in ("{", "}", "^", "\\cdot", "(", ")", "."):
            continue
        if word in ("/", "per"):
            sign = -1
        elif word.isdigit():
            if last is not None:  # a power: the unit came once already
                unit, of = last
                kind += [name for name in _signed(unit, of) for _ in range(min(int(word), 9) - 1)]
                factor *= unit.factor ** (of * (min(int(word), 9) - 1))
        elif word.lower() in POWERS:
            power = POWERS[word.lower()]
        else:
            singular = _singular(word)
            if singular.lower() in NOTHING and len(words) > 1:  # alone, `in` is the inch
                power = 1
                continue
            unit = UNITS.get(word) or UNITS.get(singular) or UNITS.get(singular.lower()) or Unit((singular.lower(),))
            kind += [name for name in _signed(unit, sign) for _ in range(power)]
            factor *= unit.factor ** (sign * power)
            last, power = (unit, sign), 1
    return Unit(tuple(sorted(kind)), factor) if kind else None


def _signed(unit: Unit, sign: int) -> Sequence[str]:
    return unit.kind if sign > 0 else ["/" + name for name in unit.kind]


def _singular(word: str) -> str:
    return word[:-1] if len(word) > 2 and word.endswith("s") and not word.endswith("ss") else word
