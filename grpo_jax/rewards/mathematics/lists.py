r"""Several answers in one: lists, tuples, sets by their elements, ratios, \pm 2."""

import itertools
from collections.abc import Sequence
from dataclasses import replace

from grpo_jax.rewards.mathematics.answer import (
    ALTERNATIVES,
    BARE,
    MATRIX,
    NAMED,
    RATIO,
    SEQUENCE,
    UNION,
    Answer,
    Choice,
    Items,
    Reader,
    Statement,
    Words,
    listed,
    of_either_sign,
)
from grpo_jax.rewards.mathematics.brackets import Tokens, closing_place, split, texts_of
from grpo_jax.rewards.mathematics.choices import is_letter
from grpo_jax.rewards.mathematics.conditions import is_condition
from grpo_jax.rewards.mathematics.expression import Node
from grpo_jax.rewards.mathematics.formula import Formula, formula
from grpo_jax.rewards.mathematics.naming import is_name
from grpo_jax.rewards.mathematics.notation import OPENING, Token
from grpo_jax.rewards.mathematics.sets import REALS, WITH_NAMES, intersection, is_interval

SEPARATORS = frozenset((",", ";", "and", "or", "&"))
EITHER_SIGN = frozenset(("\\pm", "\\mp"))
MOST_SIGNS = 3  # of a point


def bare(tokens: Tokens, read: Reader) -> Answer | None:
    """Return a list without brackets."""
    parts, found = split(tokens, SEPARATORS)
    parts = [part for part in parts if part]
    if not found or len(parts) < 2:
        return None
    kind = SEQUENCE if any(texts_of(part) == ("\\dots",) for part in parts) else BARE
    return several([read(part) for part in parts], frozenset(found), kind)


def several(items: list[Answer], found: frozenset[str], kind: str = BARE) -> Answer:
    """Return what answers are together, given what they are separated by."""
    items = [one for item in items for one in of_either_sign(item)]
    if "or" in found and all(map(is_interval, items)):
        return listed(UNION, items)
    both = intersection(items) if "or" not in found else None
    if both is not None:
        return both
    if "or" in found:
        kind = ALTERNATIVES
    named = {item.name: item for item in items if isinstance(item, Statement) and item.name}
    if len(named) == len(items):  # x = 1, y = 2 in any order; but x_1 = 1, x_2 = 2 are two x
        items = [named[name] for name in sorted(named)]
        if len({name[0] for name in named}) == 1 and all("_" in name for name in named):
            kind = ALTERNATIVES
        elif kind != ALTERNATIVES:
            kind = NAMED
    elif len(named) == 1 and all(isinstance(item, Statement) for item in items):  # x = 1, x = 2
        kind = ALTERNATIVES
    return listed(kind, items)


def bracketed(tokens: Tokens, read: Reader) -> Answer | None:
    """Return what one pair of brackets encloses, also behind the name of a point, P(1, 2), or a factor, 2(1, 2)."""
    start = next(place for place, token in enumerate(tokens) if token.text in OPENING)
    if start:
        inner = bracketed(tokens[start:], read) if tokens[start].text == "(" else None
        if not isinstance(inner, Items):
            return None
        return (
            inner
            if start == 1 and tokens[0].kind == "symbol" and tokens[0].text.isupper()
            else multiple(tokens[:start], inner)
        )
    if len(tokens) < 2 or tokens[0].text not in OPENING or closing_place(tokens) != len(tokens) - 1:
        return None
    opening, closing, inside = tokens[0].text, tokens[-1].text, tokens[1:-1]
    if (opening, closing) == (r"\langle", r"\rangle"):
        opening, closing = "(", ")"
    if opening == r"\{":
        (element, *conditions), found = split(inside, ("|", ":"))
        if len(found) == 1 and is_name(element[:1]) and texts_of(element)[1:2] in ((), ("\\in",)):
            of_reals = len(element) == 1 or WITH_NAMES.get(texts_of(element[2:])) == REALS
            return read(conditions[0]) if of_reals else Words(" ".join(texts_of(tokens)))
        if len(found) == 1 and conditions[0] and is_condition(conditions[0]):
            return read([*element, Token("sign", ","), *conditions[0]])
    parts, found = split(inside, (",", ";"))
    if (opening == r"\{" and closing == r"\}") or found:
        items = tuple(read(part) for part in parts if part)
        if opening == r"\{":
            return Items(opening, closing, tuple(one for item in items for one in of_either_sign(item)))
        return (_points(inside, items) if closing == ")" else None) or Items(opening, closing, items)
    if opening == "(" and closing == ")":
        return Choice(inside[0].text) if is_letter(inside) else read(inside)
    if (opening, closing) != ("[", "]"):
        return None
    inner = read(inside)
    return inner if isinstance(inner, Items) and inner.opening == MATRIX else Items(opening, closing, (inner,))


def _points(tokens: Tokens, coordinates: Sequence[Answer]) -> Items | None:
    r"""Return the points of (\pm 2, 4); None if there is no \pm, or more than one that may or may not go together."""
    either = [of_either_sign(one) for one in coordinates]
    signs = [token.text for token in tokens if token.text in EITHER_SIGN]
    if not signs or sum(len(one) > 1 for one in either) != len(signs):
        return None
    if "\\mp" in signs:  # (\pm 1, \mp 2): upper signs go together, and lower ones
        points = [tuple(one[place % len(one)] for one in either) for place in (0, 1)]
    elif len(signs) == 1 or (len(signs) <= MOST_SIGNS and _lead(tokens)):
        points = list(itertools.product(*either))
    else:
        return None
    return listed(ALTERNATIVES, [Items("(", ")", point) for point in points])


def _lead(tokens: Tokens) -> bool:
    """Return whether each sign stands before all of its coordinate."""
    parts, _ = split(tokens, (",", ";"))
    return all(token.text not in EITHER_SIGN for part in parts for token in part[1:])


def multiple(factor: Tokens, of: Items) -> Items | None:
    """Return a tuple, or the row of a matrix, of which each part is multiplied by a number or expression."""
    scalar = formula(factor[:-1] if factor[-1].text == "\\cdot" else factor)
    parts = [_product(scalar, part) for part in of.items]
    known = tuple(part for part in parts if part)
    return replace(of, items=known) if len(known) == len(parts) else None


def _product(scalar: Formula, part: Answer) -> Formula | None:
    if scalar.node is None or scalar.unit or not isinstance(part, Formula) or part.node is None or part.unit:
        return None
    value = None if scalar.value is None or part.value is None else scalar.value * part.value
    return Formula((*scalar.tokens, *part.tokens), Node("product", (scalar.node, part.node)), value)


def ratio(tokens: Tokens, read: Reader) -> Answer | None:
    """Return 3:4, or 3 to 4."""
    parts, found = split(tokens, (":", "to"))
    if not found or not all(parts):
        return None
    items = [read(part) for part in parts]
    if "to" in found and not all(isinstance(item, Formula) and item.node is not None for item in items):
        return None
    return listed(RATIO, items)


def plus_minus(tokens: Tokens, read: Reader) -> Answer | None:
    r"""Return both values of an expression with one \pm."""
    places = [place for place, token in enumerate(tokens) if token.text in EITHER_SIGN]
    if len(places) != 1:
        return None
    signs = "+-" if tokens[places[0]].text == "\\pm" else "-+"
    both = [[*tokens[: places[0]], Token("sign", sign), *tokens[places[0] + 1 :]] for sign in signs]
    return listed(ALTERNATIVES, [read(one) for one in both])
