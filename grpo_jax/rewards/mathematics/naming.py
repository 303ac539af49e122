"""Recognise tokens that name a quantity."""

from collections.abc import Sequence

from grpo_jax.rewards.mathematics import expression, units
from grpo_jax.rewards.mathematics.brackets import Tokens, depth_of, stripped, texts_of


def name_of(texts: Sequence[str]) -> tuple[str, ...]:
    """Return the texts of a name, the same for x_1 and x_{1}."""
    return tuple(text for text in texts if text not in ("{", "}"))


def is_name(tokens: Tokens) -> bool:
    r"""Return whether tokens name a quantity: x, x_1, \theta, f(x), f^{-1}(x), AB, \angle ABC, (a, b), dy/dx, Area."""
    tokens = stripped(tokens)
    texts = texts_of(tokens)
    if (
        len(texts) > 2
        and (texts[0], texts[-1]) in (("|", "|"), ("[", "]"))
        and all(text.isalpha() and text.isupper() for text in texts[1:-1])
    ):
        return True  # a length or an area, or the determinant of a matrix
    if texts[:1] == ("\\det",) or (len(texts) == 1 and texts[0] in OPERATORS):
        return True
    if texts[1:6] == ("^", "{", "-", "1", "}") and texts[6:7] == ("(",):
        tokens, texts = [tokens[0], *tokens[6:]], texts[:1] + texts[6:]
    if texts[:2] == ("\\frac", "{") and 7 < len(texts) < 10 and texts[2] == texts[-3] and texts[2] in DIFFERENTIALS:
        return True
    if texts[:1] == ("\\nabla",):
        return is_name(tokens[1:])
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


def is_variable(name: Sequence[str]) -> bool:
    """Return whether a name is a letter, with or without an index."""
    return (
        bool(name) and ((name[0].isalpha() and len(name[0]) == 1) or name[0] in expression.SYMBOLS) and "(" not in name
    )


def is_quantity(texts: Sequence[str]) -> bool:
    """Return whether an expression of several names and no numbers may be the quantity asked for, as m + n may."""
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


DIFFERENTIALS = frozenset(("d", "\\partial"))
OPERATORS = frozenset(("\\max", "\\min", "\\gcd", "\\lcm", "lcm", "\\lim"))
ARITHMETIC = frozenset(("+", "-", "\\cdot", "/", "^"))
FUNCTION_NAMES = frozenset("fghpqFGHPQ")
QUANTITY_SIGNS = frozenset(
    ("+", "-", "\\cdot", "/", "(", ")", "{", "}", "\\frac", "_", "|", "\\cap", "\\cup", "\\angle", "\\overline")
)
