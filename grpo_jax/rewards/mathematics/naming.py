"""Which tokens name a quantity, and which only say what letters may be."""

from collections.abc import Sequence
from dataclasses import dataclass

from grpo_jax.rewards.mathematics import expression, units
from grpo_jax.rewards.mathematics.brackets import Tokens, depth_of, stripped, texts_of


def name_of(texts: Sequence[str]) -> tuple[str, ...]:
    """Return a name's texts, the same for x_1 and x_{1}."""
    return tuple(text for text in texts if text not in ("{", "}"))


def is_name(tokens: Tokens) -> bool:
    r"""Return whether tokens name a quantity: x, x_1, \theta, f(x), f^{-1}(x), AB, \angle ABC, (a, b), dy/dx, Area."""
    tokens = stripped(tokens)
    texts = texts_of(tokens)
    if (
        len(texts) > 3
        and (texts[0], texts[-1]) in (("|", "|"), ("[", "]"))
        and all(text.isalpha() and text.isupper() for text in texts[1:-1])
    ):
        return True  # a length or an area
    if texts[1:6] == ("^", "{", "-", "1", "}") and texts[6:7] == ("(",):
        tokens, texts = [tokens[0], *tokens[6:]], texts[:1] + texts[6:]
    if texts[:3] == ("\\frac", "{", "d") and texts[-4:-2] == ("{", "d") and len(texts) <= 9:
        return True
    if len(texts) > 4 and texts[0] == "(" and all(text == "," for text in texts[2::2][:-1]):
        return texts[-1] == ")" and all(token.kind == "symbol" for token in tokens[1::2])
    if not texts or texts in (("e",), ("i",), ("\\pi",)) or len(texts) > 12:
        return False
    depth, named = 0, False
    for place, token in enumerate(tokens):
        depth += depth_of(token)
        if depth > 0 or depth_of(token) < 0:
            sign = token.text == "-" and texts[place - 1] == "("
            product = token.text in ARITHMETIC and not sign and texts[0] not in FUNCTION_NAMES
            if place == 0 or (product and texts[1] == "("):  # x(x + 2)
                return False
        elif token.kind == "word" and token.text.lower() in units.NEVER:
            return False  # not x
        elif token.kind in ("symbol", "word") or token.text in expression.SYMBOLS:
            named = True
        elif token.kind == "number":
            if texts[place - 1] != "_":
                return False
        elif token.text not in ("_", "'", "\\angle", "\\triangle", "\\circ") and token.text not in expression.DRAWN:
            return False
    return named or texts[0] in expression.DRAWN


def contradict(asked: Sequence[str], given: Sequence[str]) -> bool:
    r"""Return whether one name cannot stand for what the other one does: f(2) for f(3), y for x, z for |z|.

    A name of another sort may: x for the length AB, y for f(x), A for \\frac{a+b}{2}.
    """
    one, other = _Name.of(asked), _Name.of(given)
    if one is None or other is None:  # an expression, of which a letter is but a part; or what is made of one letter
        letters, known = ({text for text in texts if _is_letter(text)} for texts in (given, asked))
        part = letters <= known and (other or "(" not in given) if one is None else letters == known
        return bool(letters and part) and tuple(asked) != tuple(given)
    if one.is_figure or other.is_figure:
        return one.is_figure and other.is_figure and one.head not in (other.head, other.head[::-1])
    if one.head != other.head and any(a.head == ("y",) and b.is_function for a, b in ((one, other), (other, one))):
        return one.derivatives != other.derivatives
    heads = {name.head if one.indexed and other.indexed else name.head[0] for name in (one, other)}
    return len(heads) > 1 or (one.derivatives, one.inverse) != (other.derivatives, other.inverse) or one.is_at(other)


def is_shifted(name: Sequence[str]) -> bool:
    """Return whether a name is of another term than the nth: a_{n+1}."""
    return "_" in name and not {"+", "-"}.isdisjoint(name)


@dataclass(frozen=True)
class _Name:
    """The parts of a name: f, x_1, f^{-1}(x), y', \\frac{dy}{dx}, \\angle ABC."""

    head: tuple[str, ...]  # x; x, _, 1; A, B, C
    derivatives: int = 0
    inverse: bool = False
    argument: tuple[str, ...] | None = None

    @classmethod
    def of(cls, texts: Sequence[str]) -> "_Name | None":
        texts = tuple(text for text in texts if text not in IN_NAMES)
        points = tuple(text for text in texts if text not in ("\\overline", "|"))
        if len(points) > 1 and all(map(_is_point, points)):
            texts = points  # |AB|, which is AB
        if texts[:2] == ("\\frac", "d") and texts[3:4] == ("d",) and len(texts) == 5:
            return cls((texts[2],), 1, argument=(texts[4],))
        end = next((place for place, text in enumerate(texts) if text in ("(", "'", "^")), len(texts))
        head, rest = texts[:end], texts[end:]
        derivatives = next((place for place, text in enumerate(rest) if text != "'"), len(rest))
        rest = rest[derivatives:]
        inverse = rest[:3] == ("^", "-", "1")
        argument = rest[3:] if inverse else rest
        if argument and (argument[0] != "(" or argument[-1] != ")" or "(" in argument[1:]):
            return None
        if not head or not _is_letter(head[0]) or not (len(head) == 1 or head[1] == "_" or all(map(_is_point, head))):
            return None
        return cls(head, derivatives, inverse, argument[1:-1] if argument else None)

    @property
    def indexed(self) -> bool:
        return "_" in self.head

    @property
    def is_function(self) -> bool:
        return self.argument != ("y",) and (self.argument is not None or self.derivatives > 0)

    @property
    def is_figure(self) -> bool:
        return len(self.head) > 1 and not self.indexed

    def is_at(self, other: "_Name") -> bool:
        """Return whether both are functions of different values, and not of letters, which may be any."""
        arguments = {self.argument, other.argument}
        letters = all(argument and len(argument) == 1 and _is_letter(argument[0]) for argument in arguments)
        return None not in arguments and len(arguments) > 1 and not letters


def _is_letter(text: str) -> bool:
    return (len(text) == 1 and text.isalpha()) or text in expression.SYMBOLS


def _is_point(text: str) -> bool:
    return len(text) == 1 and text.isupper()


IN_NAMES = frozenset(("{", "}", "\\angle", "\\vec", "\\overrightarrow", "\\mathbf", "m\\angle"))


def is_quantity(texts: Sequence[str]) -> bool:
    """Return whether an expression of several names and no numbers may be what was asked for: m + n, f(2) + f(3)."""
    known = set[str]()
    for place, text in enumerate(texts):
        if text[:1].isdigit():
            argument = texts[place - 1 : place] == ("(",) and texts[place + 1 : place + 2] == (")",) and place > 1
            if argument:
                known.add(f"{texts[place - 2]}({text})")
            elif texts[place - 1 : place] == ("_",) and place > 1:
                known.add(f"{texts[place - 2]}_{text}")
            else:
                return False
        elif (len(text) == 1 and text.isalpha() and text not in "ei") or text in expression.SYMBOLS:
            known.add(text)
        elif text not in QUANTITY_SIGNS:
            return False
    return len(known) > 1 and texts[0] != "-"


ARITHMETIC = frozenset(("+", "-", "\\cdot", "/", "^"))
FUNCTION_NAMES = frozenset("fghpqFGHPQ")
QUANTITY_SIGNS = frozenset(
    ("+", "-", "\\cdot", "/", "(", ")", "{", "}", "\\frac", "_", "|", "\\cap", "\\cup", "\\angle", "\\overline")
)


def is_condition(tokens: Tokens) -> bool:
    """Return whether tokens only say which values a letter has."""
    if tokens[0].text == "(" and tokens[-1].text == ")":
        tokens = tokens[1:-1]
    if tokens and tokens[0].text == ",":
        tokens = tokens[1:]
    texts = texts_of(tokens)
    if texts[:1] and texts[0] in INTRODUCED and _is_counter([text for text in texts[1:] if text not in EVERY]):
        return True
    if len(texts) < 2 or not all(token.text in CONDITION or token.kind == "symbol" for token in tokens):
        return False
    letter = tokens[0].kind == "symbol" and texts[1] in ("\\in", "is", "an", "integer", "any")
    return (letter or texts[0] in INTRODUCED) and not QUANTIFIED.isdisjoint(texts)


def is_bound(kept: Tokens, tokens: Tokens) -> bool:
    r"""Return whether tokens say where a counter in those before them begins: 2^n, n \\ge 1, or 2^n (n \\ge 1)."""
    texts = texts_of(tokens)
    if not ((texts[0] == "(" and texts[-1] == ")") or texts[0] == ","):
        return False
    inside = texts[1:-1] if texts[0] == "(" else texts[1:]
    return _is_counter(inside) and inside[0] in texts_of(kept) and BOUNDS.isdisjoint(texts_of(kept))


def _is_counter(texts: Sequence[str]) -> bool:
    return len(texts) == 3 and texts[0] in "nkm" and tuple(texts[1:]) in ((">", "0"), *AT_LEAST)


BOUNDS = frozenset(("<", ">", "\\le", "\\ge", "\\ne"))
EVERY = frozenset(("all", "any", "every", "each", "integer", "integers"))
AT_LEAST = tuple(("\\ge", number) for number in "0123")
INTRODUCED = frozenset(("for", "where", "with", "when", "\\forall"))
QUANTIFIED = frozenset(
    ("integer", "integers", "all", "any", "every", "some", "constant", "arbitrary", "\\forall", "\\in")
)
_CONDITION = (
    "for where with when all any every each some arbitrary is an a are the integer integers real reals number "
    "numbers positive negative nonnegative non natural whole constant values value of \\forall \\in \\mathbb { } + "
    "* ^ , > \\ge 0"
)
CONDITION = frozenset(_CONDITION.split())
