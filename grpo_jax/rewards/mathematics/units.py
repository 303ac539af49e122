r"""Units of answers: which words are the same unit, and how far apart two units of one kind are.

A number can count any noun (12 apples). But words after a number may also change it (5 less, 5 gross) or deny it (5 is
wrong). So a unit is `sure` only if it is in the table, or counts things in the plural.
"""

import functools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

from grpo_jax.rewards.mathematics.brackets import Tokens

Kind = tuple[tuple[str, int], ...]  # base units and their powers, sorted


@dataclass(frozen=True)
class Unit:
    """A unit, or a noun that is counted. Numbers with units of the same kind are compared by means of `factor`."""

    kind: Kind
    factor: Fraction = Fraction(1)
    sure: bool = True  # whether it can only be a unit

    def times(self, other: "Unit", power: int = 1) -> "Unit":
        """Return the product with another unit's power."""
        powers = dict(self.kind)
        for name, of in other.kind:
            powers[name] = powers.get(name, 0) + of * power
        kind = tuple(sorted((name, of) for name, of in powers.items() if of))
        return Unit(kind, self.factor * other.factor**power, self.sure and other.sure)


def _base(name: str) -> Unit:
    return Unit(((name, 1),))


NO_UNIT = Unit(())
PERCENT = Unit((("percent", 1),), Fraction(1, 100))
DEGREE, RADIAN, CELSIUS, FAHRENHEIT, MONEY = map(_base, ("degree", "radian", "celsius", "fahrenheit", "money"))
ANGLES = frozenset((DEGREE.kind, RADIAN.kind))
TEMPERATURES = frozenset((CELSIUS.kind, FAHRENHEIT.kind))

# Words that scale the number before them.
SCALES = {
    "ten": 10, "dozen": 12, "gross": 144, "hundred": 10**2, "thousand": 10**3, "lakh": 10**5, "million": 10**6,
    "crore": 10**7, "billion": 10**9, "trillion": 10**12,
}  # fmt: skip
PARTS = {
    "half": 2, "halve": 2, "third": 3, "quarter": 4, "fourth": 4, "fifth": 5, "sixth": 6, "seventh": 7, "eighth": 8,
    "ninth": 9, "tenth": 10, "twelfth": 12, "hundredth": 10**2, "thousandth": 10**3, "millionth": 10**6,
}  # fmt: skip

# Words that are in no unit: numbers and groups, words that compute with the number before them or comment on it.
NUMBERS = (
    "pair couple score trio triplet triple twin quad quadruplet quartet brace ream myriad googol "
    "zero one two three four five six seven eight nine eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety pair couple score trio decade century "
    "basis percentage"
)
OPERATIONS = (
    "plus minus multiplied divided added subtracted over factorial choose mod modulo power raised root than equals "
    "equal doubled tripled halved negated doubling double triple twice negative positive inverse reciprocal opposite "
    "squared cubed complement conjugate base logarithm exponent to permute more less fewer extra additional most "
    "least under above below beneath within beyond between off short about around approximately roughly nearly almost"
)
SENTENCES = (
    "fail contradict violate exceed lie differ work disagree break ain "
    "is are was were be been being isn aren wasn not no non never nor neither none nothing without except but if "
    "unless then because so although however which that this these those it they does did do has have had cannot can "
    "should would could must might may incorrect incorrectly false wrong wrongly invalid impossible incomplete "
    "missing rejected excluded excluding eliminated discarded untrue mistaken mistake error erroneous unlikely "
    "instead rather maybe perhaps possibly or and either debt owed owing lost loss deficit deficient before after ago "
    "left west south down always sometimes infinitely ruled out"
)
NEVER = frozenset(f"{NUMBERS} {OPERATIONS} {SENTENCES}".split())
_COUNTED = "way solution unit time person people men women children mice sheep fish deer cattle dice"
COUNTED = frozenset(_COUNTED.split())

CURRENCIES = ("euro", "sterling", "yen", "yuan", "rupee", "peso")
UNITS_BY_KIND = {
    "m": {
        "m meter metre": "1", "inch inche": "0.0254", "ft foot feet": "0.3048", "yd yard": "0.9144",
        "mi mile": "1609.344", "\\AA angstrom": "1e-10", "ly lightyear": "9460730472580800",
        "pc parsec": "30856775814913673", "AU au": "149597870700",
    },
    "kg": {
        "g gram gramme": "0.001", "lb pound": "0.45359237", "oz ounce": "0.028349523125", "ton tonne": "1000",
    },
    "s": {
        "s sec second": "1", "min minute": "60", "h hr hour": "3600", "day": "86400", "week": "604800",
        "yr year": "31557600",
    },
    "month": {"month": "1"},
    "A": {"A amp ampere": "1"},
    "K": {"K kelvin": "1"},
    "mol": {"mol mole": "1"},
    "cd": {"cd candela": "1"},
    "bit": {"bit": "1", "byte": "8"},
    "money": {"dollar USD usd buck": "1", "cent": "0.01"},
    **{currency: {currency: "1"} for currency in CURRENCIES},
    "percent": {"percent pct": "0.01", "permille": "0.001", "ppm": "1e-6", "ppb": "1e-9"},
    "degree": {"degree deg": "1", "arcminute arcmin": "1/60", "arcsecond arcsec": "1/3600"},
    "radian": {"radian rad": "1"},
    "celsius": {"celsius": "1"},
    "fahrenheit": {"fahrenheit": "1"},
}  # fmt: skip
DERIVED = {
    "N newton": ("kg m s-2", "1"), "J joule": ("kg m2 s-2", "1"), "W watt": ("kg m2 s-3", "1"),
    "Pa pascal": ("kg m-1 s-2", "1"), "C coulomb": ("A s", "1"), "V volt": ("kg m2 s-3 A-1", "1"),
    "F farad": ("kg-1 m-2 s4 A2", "1"), "\\Omega ohm": ("kg m2 s-3 A-2", "1"), "S siemens": ("kg-1 m-2 s3 A2", "1"),
    "Wb weber": ("kg m2 s-2 A-1", "1"), "T tesla": ("kg s-2 A-1", "1"), "H henry": ("kg m2 s-2 A-2", "1"),
    "Hz hertz": ("s-1", "1"), "l L liter litre \\ell": ("m3", "0.001"), "cc": ("m3", "0.000001"),
    "eV electronvolt": ("kg m2 s-2", "1.602176634e-19"), "erg": ("kg m2 s-2", "1e-7"), "dyn dyne": ("kg m s-2", "1e-5"),
    "cal calorie": ("kg m2 s-2", "4.184"), "atm atmosphere": ("kg m-1 s-2", "101325"), "bar": ("kg m-1 s-2", "100000"),
    "G gauss": ("kg s-2 A-1", "1e-4"), "Jy jansky": ("kg s-2", "1e-26"),
}  # fmt: skip
PREFIXES = (
    ("k", "kilo", 3), ("M", "mega", 6), ("G", "giga", 9), ("T", "tera", 12), ("d", "deci", -1), ("c", "centi", -2),
    ("m", "milli", -3), ("\\mu", "micro", -6), ("n", "nano", -9), ("p", "pico", -12), ("f", "femto", -15),
)  # fmt: skip
_SPELT_OUT = (
    "meter metre gram gramme second liter litre mole ampere kelvin newton joule watt pascal coulomb volt farad ohm "
    "tesla henry hertz electronvolt calorie parsec weber siemens bit byte"
)
SPELT_OUT = frozenset(_SPELT_OUT.split())
_PREFIXED = "m g s l L mol A K N J W Pa C V F \\Omega T H Hz eV cal bar pc Wb S"
PREFIXED = SPELT_OUT | frozenset(_PREFIXED.split())

POWERS = {"square": 2, "sq": 2, "cubic": 3, "cu": 3}
POWERS_BEHIND = {"squared": 2, "cubed": 3}
ABBREVIATED = {
    "mph": ("mi", "/", "h"), "kph": ("km", "/", "h"), "kmh": ("km", "/", "h"), "rpm": ("turn", "/", "min"),
}  # fmt: skip
PHRASES = {
    ("per", "thousand"): "permille", ("per", "mille"): "permille", ("per", "mil"): "permille",
    ("per", "cent"): "percent",
    ("parts", "per", "thousand"): "permille", ("parts", "per", "million"): "ppm",
    ("parts", "per", "billion"): "ppb",
}  # fmt: skip
_NOTHING = "unit of for the a an in total per each altogether exactly old long tall wide high deep"
NOTHING = frozenset(_NOTHING.split())
LENGTH_UNIT = "length"  # the unit in "5 square units"; "5 units" may be units of anything
UNITS = frozenset(("unit", "units"))
ENDS_HEAD = frozenset(("of", "for", "in", "per", "/"))  # the words after one of these are not what is counted
SEPARATORS = frozenset(("\\cdot", ".", "{", "}"))


@functools.cache
def _table() -> dict[str, Unit]:
    """Return all units by name, those with prefixes too."""
    table = {
        name: Unit(((kind, 1),), Fraction(factor))
        for kind, factors in UNITS_BY_KIND.items()
        for spelt, factor in factors.items()
        for name in spelt.split()
    }
    for spelt, (bases, factor) in DERIVED.items():
        powers = re.findall(r"([a-zA-Z]+)(-?\d*)", bases)
        unit = Unit(tuple(sorted((name, int(power or 1)) for name, power in powers)), Fraction(factor))
        table |= dict.fromkeys(spelt.split(), unit)
    for symbol, word, power in PREFIXES:
        for name in PREFIXED:
            prefixed = Unit(table[name].kind, table[name].factor * Fraction(10) ** power)
            table.setdefault((word if name in SPELT_OUT else symbol) + name, prefixed)
    return table


def scale(word: str) -> Fraction | None:
    """Return the factor of a word such as "million" or "thirds" after a number; None for other words."""
    small = word.lower()
    stem = singular(small)
    factor = SCALES.get(small) or SCALES.get(stem)
    if factor is not None:
        return Fraction(factor)
    return Fraction(1, PARTS[stem]) if stem in PARTS else None


def base(number: int) -> Unit:
    """Return the unit of digits in a base. Without it the digits are another number, except in base ten."""
    return Unit(((f"base {number}", 1),), sure=number == 10)


def contradict(one: Unit, other: Unit) -> bool:
    """Return whether two units are of different kinds. A degree may be one of either temperature scale."""
    if one.kind == other.kind:
        return False
    return DEGREE.kind not in (one.kind, other.kind) or TEMPERATURES.isdisjoint((one.kind, other.kind))


def in_lengths(kind: Kind) -> Kind:
    """Return a kind with unnamed units of length, as in "5 square units", replaced by metres."""
    return tuple(("m" if name == LENGTH_UNIT else name, power) for name, power in kind)


def read(tokens: Tokens) -> Unit | None:
    r"""Return the unit that tokens such as `square centimeters` or `\frac{m}{s}` name; None if they name none.

    A noun that is in no table is a kind of its own, in either case and number. Words without a unit (`units`) are
    NO_UNIT.
    """
    words = [part for word in _names(tokens) for part in ABBREVIATED.get(word, (word,))]
    phrase = PHRASES.get(tuple(word.lower() for word in words))
    return _table()[phrase] if phrase is not None else _product(words)


def _names(tokens: Tokens) -> Iterator[str]:
    r"""Yield the tokens as words: letters that touch are one, \mu belongs to what follows, a circle to its scale."""
    name = ""
    for token, following in zip(tokens, [*tokens[1:], None], strict=False):
        name += token.text
        touches = following is not None and following.kind == "symbol" and not following.spaced
        if name == "\\mu" and following is not None:
            continue
        if following is not None and following.text == "\\Omega" and name + following.text in _table():
            continue
        if token.kind == "symbol" and touches:
            continue
        yield name
        name = ""


def _product(words: Sequence[str]) -> Unit | None:
    """Return the product of the units that words name."""
    unit, last, sign, power = NO_UNIT, NO_UNIT, 1, 1
    head: list[bool] = []  # of the words before `of` and `per`: whether each is in the table
    plural = in_head = True
    place = 0
    while place < len(words):
        word = words[place]
        place += 1
        small = word.lower()
        if word == "in" and not "".join(words[place : place + 1]).isalpha():
            small = "inch"
        in_head = in_head and small not in ENDS_HEAD
        if word in SEPARATORS or (word == "1" and words[place : place + 1] == ["/"]):
            continue
        if small in ("/", "per"):
            sign, last = -1, NO_UNIT
        elif small in POWERS:
            power = POWERS[small]
        elif word == "^" or small in POWERS_BEHIND:
            of_units = not UNITS.isdisjoint(words[place - 2 : place - 1])
            raised, place = _exponent(words, place) if word == "^" else (POWERS_BEHIND[small], place)
            if not raised or not (last.kind or of_units):
                return None
            unit = unit.times(_base(LENGTH_UNIT), raised * sign) if of_units else unit.times(last, (raised - 1) * sign)
            head += [True] * of_units
            last = NO_UNIT
        elif word in ("(", "\\frac"):
            found, place = _grouped(words, place, 1 + (word == "\\frac"))
            if found is None:
                return None
            head.append(True)
            last, unit = found, unit.times(found, sign)
        else:
            found = (
                _table().get(word)
                or _table().get(small)
                or _table().get(singular(word))
                or _table().get(singular(small))
            )
            known = found is not None
            if found is None:
                found = _noun(small)
            if found is None:
                return None
            if small in UNITS and power > 1:
                found = _base(LENGTH_UNIT)
            if found.kind and in_head:
                head.append(known)
                plural = known or _is_plural(small)
            unit, last, power = unit.times(found, sign * power), found, 1
    in_order = head == sorted(head) and len(head) <= 3 if False in head else True
    sure = plural and in_order and (bool(head) or not unit.kind)
    powers = dict(unit.kind)
    if len(powers) > 1:
        powers.pop("radian", None)  # rad/s is 1/s
    if not powers.keys().isdisjoint(("celsius", "fahrenheit")):
        powers.pop("degree", None)
    kind = tuple(powers.items())
    return Unit(kind, unit.factor, sure and unit.sure)


def _noun(word: str) -> Unit | None:
    """Return a unit for a word that is in no table; None if it does not seem to be a noun."""
    stem = singular(word)
    if not NOTHING.isdisjoint((word, stem)):
        return NO_UNIT
    forms = {word, stem, word.removesuffix("es"), word.removesuffix("ies") + "y"}
    says_more = not NEVER.isdisjoint(forms) or any(scale(form) is not None for form in forms) or stem.endswith("ward")
    return None if says_more or not word.isalpha() or len(word) < 2 else _base(stem)


def _exponent(words: Sequence[str], place: int) -> tuple[int, int]:
    """Return the whole number after a ^, 0 if there is none, and the place after it."""
    text = ""
    while place < len(words) and len(text) < 5:
        text += words[place]
        place += 1
        if re.fullmatch(r"-?[1-9]|\{-?[1-9]\}", text):
            return int(text.strip("{}")), place
    return 0, place


def _grouped(words: Sequence[str], place: int, groups: int) -> tuple[Unit | None, int]:
    """Return the unit in the bracket that is open here, or the quotient of the two pairs of braces that follow."""
    found = NO_UNIT
    for number in range(groups):
        if groups == 2:
            if words[place : place + 1] != ["{"]:
                return None, place
            place += 1
        start, depth = place, 1
        while place < len(words) and depth:
            depth += (words[place] in ("(", "{")) - (words[place] in (")", "}"))
            place += 1
        inner = _product(words[start : place - 1]) if not depth else None
        if inner is None:
            return None, place
        found = found.times(inner, -1 if number else 1)
    return found, place


def _is_plural(word: str) -> bool:
    return word in COUNTED or (len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")))


def singular(word: str) -> str:
    """Return a word without the s of its plural."""
    return word[:-1] if len(word) > 2 and word.endswith("s") and not word.endswith("ss") else word
