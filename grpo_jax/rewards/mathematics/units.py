"""Units of answers: which words are the same unit, and how far apart two units of one kind are."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True)
class Unit:
    """What a number counts; numbers in units of one kind are comparable by their factors."""

    kind: tuple[str, ...]  # kinds of base units, sorted, once for each power; those divided by carry a "/"
    factor: Fraction = Fraction(1)


BASE = "base"
PERCENT = Unit(("percent",), Fraction(1, 100))
DEGREE = Unit(("degree",))
CELSIUS = Unit(("celsius", "degree"))
FAHRENHEIT = Unit(("degree", "fahrenheit"))
MONEY = Unit(("money",))

# Words that scale the number before them.
SCALES = {
    "ten": 10, "dozen": 12, "hundred": 10**2, "thousand": 10**3, "lakh": 10**5, "million": 10**6, "crore": 10**7,
    "billion": 10**9, "trillion": 10**12,
}  # fmt: skip
PARTS = {
    "half": 2, "halve": 2, "third": 3, "quarter": 4, "fourth": 4, "fifth": 5, "sixth": 6, "seventh": 7, "eighth": 8,
    "ninth": 9, "tenth": 10, "twelfth": 12, "hundredth": 10**2, "thousandth": 10**3, "millionth": 10**6,
}  # fmt: skip

# Words that no unit has: they compute with the number before them, or say something about it.
NUMBERS = (
    "zero one two three four five six seven eight nine eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety point"
)
OPERATIONS = (
    "plus minus multiplied divided added subtracted over factorial choose mod modulo power raised root than equals "
    "doubled tripled halved negated"
)
SENTENCES = (
    "is are was were be been isn aren wasn not no never nor neither none nothing without except but if unless then "
    "because so although however which that this these those it they does did has have had cannot should would could "
    "must might incorrect false"
)
NEVER = frozenset((*NUMBERS.split(), *OPERATIONS.split(), *SENTENCES.split()))
NEVER_FIRST = frozenset(("squared", "cubed", "to"))
LETTERS = frozenset("mgshlLNJWVaACFKTPBdbtk")  # that stand for a unit, or are the article

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
    "celsius": {"celsius C": "1"},
    "fahrenheit": {"fahrenheit F": "1"},
}  # fmt: skip
UNITS = {
    name: Unit((kind,), Fraction(factor))
    for kind, factors in FACTORS.items()
    for names, factor in factors.items()
    for name in names.split()
}

POWERS = {"square": 2, "sq": 2, "cubic": 3, "cu": 3}
ABBREVIATED = {
    "mph": ("mi", "per", "h"), "kph": ("km", "per", "h"), "kmh": ("km", "per", "h"), "squared": ("2",), "cubed": ("3",),
}  # fmt: skip
NOTHING = frozenset(("unit", "of", "the", "a", "in", "total"))  # words that say no unit


def scale(word: str) -> Fraction | None:
    """What a word such as "million", "dozens" or "thirds" makes of the number before it; None for other words."""
    singular = _singular(word.lower())
    if singular in SCALES:
        return Fraction(SCALES[singular])
    return Fraction(1, PARTS[singular]) if singular in PARTS else None


def may_name(words: Sequence[str]) -> bool:
    """Whether words behind a number can be its unit. Any noun can, so this looks for what is none."""
    return words[0].lower() not in NEVER_FIRST and NEVER.isdisjoint(word.lower() for word in words)


def base(number: int) -> Unit | None:
    """The unit of digits in a base; None for base ten."""
    return None if number == 10 else Unit((f"{BASE} {number}",))


def may_be_added(unit: Unit) -> bool:
    """Whether an answer may carry the unit though the gold one has none; a base says what the digits are worth."""
    return not unit.kind[0].startswith(BASE)


def contradict(one: Unit, other: Unit) -> bool:
    """Whether two units are of different kinds. A degree may be one of either temperature."""
    kinds = {one.kind, other.kind}
    return len(kinds) == 2 and kinds not in ({DEGREE.kind, CELSIUS.kind}, {DEGREE.kind, FAHRENHEIT.kind})


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
            unit = (
                UNITS.get(word)
                or UNITS.get(word.lower())
                or UNITS.get(singular)
                or UNITS.get(singular.lower())
                or Unit((singular.lower(),))
            )
            kind += [name for name in _signed(unit, sign) for _ in range(power)]
            factor *= unit.factor ** (sign * power)
            last, power = (unit, sign), 1
    return Unit(tuple(sorted(kind)), factor) if kind else None


def _signed(unit: Unit, sign: int) -> Sequence[str]:
    return unit.kind if sign > 0 else ["/" + name for name in unit.kind]


def _singular(word: str) -> str:
    return word[:-1] if len(word) > 2 and word.endswith("s") and not word.endswith("ss") else word
