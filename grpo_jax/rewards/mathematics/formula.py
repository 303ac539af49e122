r"""An expression with its unit: `2\sqrt{3} \text{ cm}`, `50\%`, `90^\circ`, `\$1.5 \text{ million}`, `1011_2`."""

import re
from dataclasses import dataclass, replace
from fractions import Fraction

from grpo_jax.rewards.mathematics import exact, expression, units
from grpo_jax.rewards.mathematics.brackets import Tokens, texts_of
from grpo_jax.rewards.mathematics.expression import Node
from grpo_jax.rewards.mathematics.notation import Token
from grpo_jax.rewards.mathematics.units import Unit

# Commands that our grammar leaves to math-verify. Without one of them, a text that it cannot read is not mathematics.
BEYOND = frozenset(("\\sum", "\\prod", "\\int", "\\lim", "\\begin", "\\mathbb", "\\setminus", "\\cap", "\\det"))

CIRCLES = (("^", "\\circ"), ("^", "{", "\\circ", "}"), ("\\circ",))
SCALES = {(): units.DEGREE, ("C",): units.CELSIUS, ("F",): units.FAHRENHEIT}
DEGREES = {(*circle, *scale): unit for circle in CIRCLES for scale, unit in SCALES.items()}
BASES = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
BASE_NAMES = {"binary": 2, "octal": 8, "hexadecimal": 16, "hex": 16, **{name: n for n, name in enumerate(BASES, 2)}}
IN_BASE = re.compile(
    r"(?P<bracket>\(?)(?P<digits>[0-9A-F]+)(?(bracket)\)?)"
    r"(?:_\{?\(?(?P<number>\d+|[a-z]+)\)?\}?|\(?(?:in)?base(?P<base>\d+|[a-z]+)\)?|(?:in)?(?P<name>binary|octal|hex(?:adecimal)?))"
)


@dataclass(frozen=True)
class Formula:
    """An expression. `node` is None if our grammar cannot read it, `value` is None if it is not rational."""

    tokens: tuple[str, ...]
    node: Node | None
    value: Fraction | None
    unit: Unit | None = None
    measured: "Formula | None" = None  # the same, if the letters after it are a unit and not variables: 5 m
    measure: str = ""  # of a gold answer: the kind of quantity that its question asks for, see `measures.py`

    @property
    def variables(self) -> frozenset[str]:
        """The names of its variables, or all letters if our grammar cannot read it."""
        if self.node is not None:
            return expression.names(self.node)
        letters = (text for text in self.tokens if len(text) == 1 and text.isalpha() and text not in "ei")
        return frozenset((*letters, *expression.SYMBOLS.keys() & set(self.tokens)))

    @property
    def readable(self) -> bool:
        """Whether our grammar or math-verify can evaluate it."""
        return self.node is not None or any(token in BEYOND for token in self.tokens)


def swapped(of: Formula, one: str, other: str) -> Formula:
    """Return a formula with two variables swapped."""
    names = {one: other, other: one}
    nodes = {old: Node("symbol", name=new) for old, new in names.items()}
    node = None if of.node is None else expression.replaced(of.node, nodes)
    return replace(of, tokens=tuple(names.get(text, text) for text in of.tokens), node=node, measured=None)


def formula(tokens: Tokens) -> Formula:
    """Return the formula that tokens spell, `readable` or not. Raises TooLargeError as `expression.parse` does."""
    if len(tokens) > 1 and tokens[0].text == "+":  # +\infty
        tokens = tokens[1:]
    texts = texts_of(tokens)
    based = (
        _in_base(texts) if "_" in texts or (len(tokens) > 1 and tokens[-1].kind in ("word", "number", "sign")) else None
    )
    if based is not None:
        return based
    head, unit, scale = without_unit(tokens)
    plain = _formula(tokens, head, unit, scale)
    if unit is not None and plain.node is not None:
        return plain
    measured = _measured(tokens)
    if measured is None:
        return plain
    return measured if plain.node is None else replace(plain, measured=measured)


def _formula(tokens: Tokens, head: Tokens, unit: Unit | None, scale: Fraction = Fraction(1)) -> Formula:
    node = value = None
    try:
        node = expression.parse(head)
        if scale != 1:
            node = Node("product", (node, Node("number", value=scale)))
        value = exact.value_of(node)
    except (expression.ExpressionError, exact.NotRationalError):
        pass
    return Formula(texts_of(tokens), node, value, unit)


def _in_base(texts: tuple[str, ...]) -> Formula | None:
    r"""Return digits in a base: 1011_2, (1011)_{\text{two}}, 1011 base 2."""
    if len(texts) > 40:
        return None
    found = IN_BASE.fullmatch("".join(texts))
    if found is None:
        return None
    name = found["number"] or found["base"] or found["name"]
    number = int(name[:3]) if name.isdigit() else BASE_NAMES.get(name, 0)
    digits = found["digits"].lstrip("0") or "0"
    if number < 2 or any(int(digit, 16) >= number for digit in digits):
        return None
    value = Fraction(int(digits)) if digits.isdigit() else Fraction(int(digits, 16), 7)  # told apart from any digits
    return Formula(texts, Node("number", value=value), value, units.base(number))


def _measured(tokens: Tokens) -> Formula | None:
    """Return a number with a unit of letters that could be variables: `5 m/s`, with a space, or `5 kPa`."""
    first = next((place for place in range(len(tokens)) if _starts_unit(*tokens[place : place + 2])), 0)
    while first and tokens[first - 1].text in PART_OF_UNIT:
        first -= 1
    if not first or not all(
        token.kind in ("symbol", "number", "word") or token.text in UNIT_SIGNS for token in tokens[first:]
    ):
        return None
    unit = units.read(tokens[first:])
    if unit is None or not unit.sure or not unit.kind:
        return None
    if not tokens[first].spaced:
        unit = replace(unit, sure=False)
    measured = _formula(tokens, tokens[:first], unit)
    return measured if measured.node is not None and not measured.variables else None


def _starts_unit(token: Token, following: Token | None = None) -> bool:
    goes_on = following is not None and following.kind == "symbol" and not following.spaced
    return token.kind == "symbol" and (token.text not in "ei" or goes_on)


PART_OF_UNIT = frozenset(("{", "(", "\\mu", "\\frac", "\\cdot"))  # where they stand before it
UNIT_SIGNS = frozenset(("\\frac", "/", "^", "{", "}", "(", ")", "-", "\\cdot", ".", "\\mu", "\\Omega"))


def without_unit(tokens: Tokens) -> tuple[Tokens, Unit | None, Fraction]:
    """Return the number or expression, its unit, and the product of words such as "million" or "thirds" after it."""
    texts = texts_of(tokens)
    if texts[:1] in (("\\$",), ("$",)):
        head, unit, scale = without_unit(tokens[1:])
        return head, units.MONEY if unit in (None, units.MONEY) else unit, scale
    if texts[:2] == ("-", "\\$"):
        return [tokens[0], *tokens[2:]], units.MONEY, Fraction(1)
    if len(tokens) > 1 and tokens[0].kind == "word" and texts[0] in units.CURRENCIES:
        return tokens[1:], units.read(tokens[:1]), Fraction(1)
    if texts[-1:] in (("\\%",), ("%",)):
        return tokens[:-1], units.PERCENT, Fraction(1)
    for degrees, unit in DEGREES.items():
        if texts[-len(degrees) :] == degrees and expression.FUNCTIONS.keys().isdisjoint(texts):
            return tokens[: -len(degrees)], unit, Fraction(1)
    first = _unit_place(tokens)
    scale = Fraction(1)
    end = first
    while 0 < end < len(tokens) and (factor := units.scale(texts[end])):
        scale *= factor
        end += 1
    if 0 < first < len(tokens):
        unit = units.read(tokens[end:])
        if unit is not None:
            return tokens[:first], unit if unit.kind or not unit.sure else None, scale
    return tokens, None, Fraction(1)


def _unit_place(tokens: Tokens) -> int:
    r"""Return the place where words that may be a unit begin, including \mu, \frac{ or 1/ before them."""
    texts = texts_of(tokens)
    first = next(
        (place for place, token in enumerate(tokens) if token.kind == "word" or token.text == "\\Omega"), len(tokens)
    )
    if first == len(tokens):
        return first
    while first and texts[first - 1] in PART_OF_UNIT:
        first -= 1
    return first
