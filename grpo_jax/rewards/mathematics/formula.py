r"""An expression with its unit: `2\sqrt{3} \text{ cm}`, `50\%`, `90^\circ`, `\$1.5 \text{ million}`."""

from dataclasses import dataclass
from fractions import Fraction

from grpo_jax.rewards.mathematics import exact, expression, units
from grpo_jax.rewards.mathematics.brackets import Tokens, texts_of
from grpo_jax.rewards.mathematics.expression import Node
from grpo_jax.rewards.mathematics.units import Unit

# Commands that our grammar leaves to math-verify; what has none of them and is not in our grammar, is not mathematics.
BEYOND = frozenset(("\\sum", "\\prod", "\\int", "\\lim", "\\begin", "\\mathbb", "\\setminus", "\\cap", "\\det"))

UNIT_SIGNS = frozenset(("/", "^", "{", "}", "\\cdot", "."))
CIRCLES = (("^", "\\circ"), ("^", "{", "\\circ", "}"), ("\\circ",))
TEMPERATURES = {(): units.DEGREE, ("C",): units.CELSIUS, ("F",): units.FAHRENHEIT}
DEGREES = {(*circle, *scale): unit for circle in CIRCLES for scale, unit in TEMPERATURES.items()}


@dataclass(frozen=True)
class Formula:
    """An expression. `node` is None if our grammar does not know it, `value` if it is not rational."""

    tokens: tuple[str, ...]
    node: Node | None
    value: Fraction | None
    unit: Unit | None = None

    @property
    def variables(self) -> frozenset[str]:
        """The names of its variables; letters, if our grammar does not know it."""
        if self.node is not None:
            return expression.names(self.node)
        letters = (text for text in self.tokens if len(text) == 1 and text.isalpha() and text not in "ei")
        return frozenset((*letters, *expression.SYMBOLS.keys() & set(self.tokens)))

    @property
    def readable(self) -> bool:
        """Whether anything here can tell what it is worth: our grammar, or the parser of math-verify."""
        return self.node is not None or any(token in BEYOND for token in self.tokens)


def formula(tokens: Tokens) -> Formula:
    """The formula that tokens are, `readable` or not. Raises TooLargeError as `expression.parse` does."""
    head, unit, scale = _without_unit(tokens)
    node = value = None
    try:
        node = expression.parse(head)
        if scale != 1:
            node = Node("product", (node, Node("number", value=scale)))
        value = exact.evaluate(node)
    except (expression.ExpressionError, exact.NotRationalError):
        pass
    return Formula(texts_of(tokens), node, value, unit)


def _without_unit(tokens: Tokens) -> tuple[Tokens, Unit | None, Fraction]:
    """The number or expression, its unit, and the product of words such as "million" or "thirds" behind it."""
    texts = texts_of(tokens)
    if texts[:1] in (("\\$",), ("$",)):
        return tokens[1:], units.MONEY, Fraction(1)
    if texts[:2] == ("-", "\\$"):
        return [tokens[0], *tokens[2:]], units.MONEY, Fraction(1)
    if texts[-1:] in (("\\%",), ("%",)):
        return tokens[:-1], units.PERCENT, Fraction(1)
    for degrees, unit in DEGREES.items():
        if texts[-len(degrees) :] == degrees and expression.FUNCTIONS.keys().isdisjoint(texts):
            return tokens[: -len(degrees)], unit, Fraction(1)
    for base in (texts[-2:], (texts[-4:-3] + texts[-2:-1]) if texts[-3:-2] == ("{",) and texts[-1:] == ("}",) else ()):
        if len(base) == 2 and base[0] == "_" and base[1].isdigit():
            digits = tokens[: texts.index("_")]
            if len(digits) == 1 and digits[0].kind == "number":
                return digits, units.base(int(base[1])), Fraction(1)
    first = next((place for place, token in enumerate(tokens) if token.kind == "word"), len(tokens))
    if 0 < first < len(tokens) and _are_unit(tokens[first:]):
        words, scale = list(texts[first:]), Fraction(1)
        while words and (factor := units.scale(words[0])):
            scale *= factor
            words.pop(0)
        return tokens[:first], units.read(words), scale
    return tokens, None, Fraction(1)


def _are_unit(tokens: Tokens) -> bool:
    """Whether these are words with powers and fractions of them, and nothing else: no operations, no sentence."""
    texts = texts_of(tokens)
    if not units.may_name(texts):
        return False
    if any(token.kind == "symbol" and _is_variable(tokens, place) for place, token in enumerate(tokens)):
        return False
    before = ("", *texts)
    return all(
        token.kind in ("word", "symbol") or token.text in UNIT_SIGNS or (token.kind == "number" and last in ("^", "{"))
        for last, token in zip(before, tokens, strict=False)
    )


def _is_variable(tokens: Tokens, place: int) -> bool:
    """Whether a letter stands on its own and abbreviates no unit: the x of `5 plus x`, not the p of `per`."""
    letter = tokens[place]
    goes_on = any(one.kind == "symbol" and not one.spaced for one in tokens[place + 1 : place + 2])
    alone = not goes_on and (letter.spaced or tokens[place - 1].kind != "symbol")
    return alone and letter.text not in units.LETTERS
