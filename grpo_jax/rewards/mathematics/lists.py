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
    as_vector,
    listed,
    of_either_sign,
)
from grpo_jax.rewards.mathematics.brackets import Tokens, closing_place, split, texts_of
from grpo_jax.rewards.mathematics.choices import is_letter
from grpo_jax.rewards.mathematics.conditions import is_condition
from grpo_jax.rewards.mathematics.exact import rational
from grpo_jax.rewards.mathematics.expression import Node
from grpo_jax.rewards.mathematics.formula import Formula, formula
from grpo_jax.rewards.mathematics.naming import is_name
from grpo_jax.rewards.mathematics.notation import OPENING, Token
from grpo_jax.rewards.mathematics.sets import REALS, WITH_NAMES, intersection, is_interval

SEPARATORS = frozenset((",", ";", "and", "or", "&"))
EITHER_SIGN = frozenset(("\\pm", "\\mp"))
PAIRED = {"\\pm": "+-", "\\mp": "-+"}
MOST_SIGNS = 3  # of a point or an expression


def bare(tokens: Tokens, read: Reader) -> Answer | None:
    """Return a list without brackets."""
    parts, found = split(tokens, SEPARATORS)
    parts = [part for part in parts if part]
    if "or" in found and len(set(found)) > 1 and all("=" in texts_of(part) for part in parts):  # x=2, y=3 or x=3, y=2
        return listed(ALTERNATIVES, [read(part) for part in split(tokens, ("or",))[0] if part])
    if not found or len(parts) < 2:
        return None
    kind = SEQUENCE if any(texts_of(part) == ("\\dots",) for part in parts) else BARE
    return several([read(part) for part in parts], frozenset(found), kind)


def several(items: list[Answer], found: frozenset[str], kind: str = BARE) -> Answer:
    """Return several answers as one, given the separators between them."""
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
        if len({name[0] for name in named}) == 1 and all("_" in name for name in named):
            kind = ALTERNATIVES
        elif kind != ALTERNATIVES:
            kind = NAMED
    elif len(named) == 1 and all(isinstance(item, Statement) for item in items):  # x = 1, x = 2
        kind = ALTERNATIVES
    return listed(kind, items)


def bracketed(tokens: Tokens, read: Reader) -> Answer | None:
    """Return the answer in one pair of brackets, also after the name of a point, P(1, 2), or a factor, 2(1, 2)."""
    start = next(place for place, token in enumerate(tokens) if token.text in OPENING)
    if start:
        inner = bracketed(tokens[start:], read) if tokens[start].text in ("(", r"\langle") else None
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
        (element, *conditions), found = _defined(inside)
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


def _defined(inside: Tokens) -> tuple[list[Tokens], list[str]]:
    """Return the element of a set and its conditions, split at the first bar or colon; the conditions may have bars."""
    (element, *_), found = split(inside, ("|", ":"))
    rest = inside[len(element) + 1 :]
    if len(found) > 1 and len(element) and not (found[0] == "|" and len(found) % 2 == 0):
        return [element, rest], found[:1]
    return split(inside, ("|", ":"))


def _points(tokens: Tokens, coordinates: Sequence[Answer]) -> Items | None:
    r"""Return the points of (\pm 2, 4); None without \pm, or with several that may or may not go together."""
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
    """Return whether each sign applies to its whole coordinate."""
    parts, _ = split(tokens, (",", ";"))
    return all(token.text not in EITHER_SIGN for part in parts for token in part[1:])


def combination(tokens: Tokens, read: Reader) -> Answer | None:
    """Return a sum of points and multiples of them as one point: (1, 0) + t(2, 1) is (1 + 2t, t)."""
    parts, signs = split(tokens, ("+", "-"))
    if not parts[0]:
        parts, signs = parts[1:], signs
    else:
        signs = ["+", *signs]
    if len(parts) < 2 or not all(parts):
        return None
    points = [_point(read(part)) for part in parts]
    rows = [[item for item in point.items if isinstance(item, Formula)] for point in points if point]
    if (
        len({len(row) for row in rows}) != 1
        or len(rows) < len(parts)
        or any(point and len(row) < len(point.items) for row, point in zip(rows, points, strict=True))
    ):
        return None
    sums = [_sum(column, signs) for column in zip(*rows, strict=True)]
    return Items("(", ")", tuple(one for one in sums if one)) if all(sums) else None


def _point(answer: Answer) -> Items | None:
    vector = as_vector(answer) if isinstance(answer, Items) else None
    return vector if vector and (vector.opening, vector.closing) == ("(", ")") else None


def _sum(terms: Sequence[Formula], signs: Sequence[str]) -> Formula | None:
    nodes = [
        Node("negative", (term.node,)) if sign == "-" else term.node
        for term, sign in zip(terms, signs, strict=True)
        if term.node
    ]
    texts = tuple(text for term, sign in zip(terms, signs, strict=True) for text in (sign, *term.tokens))
    node = Node("sum", tuple(nodes))
    known = len(nodes) == len(terms) and not any(term.unit for term in terms)
    return Formula(texts, node, rational(node)) if known else None


def multiple(factor: Tokens, of: Items) -> Items | None:
    """Return a tuple, or the row of a matrix, with each part multiplied by a number or expression."""
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
    r"""Return all values of an expression with \pm: signs vary independently, but together if there is a \mp."""
    texts = texts_of(tokens)
    places = [place for place, text in enumerate(texts) if text in EITHER_SIGN]
    if len(places) > MOST_SIGNS:
        return None
    all_signs = list(itertools.product("+-", repeat=len(places)))
    if "\\mp" in texts:
        all_signs = [tuple(PAIRED[texts[place]][row] for place in places) for row in (0, 1)]
    found = []
    for signs in all_signs:
        one = list(tokens)
        for place, sign in zip(places, signs, strict=True):
            one[place] = Token("sign", sign)
        found.append(read(one))
    return listed(ALTERNATIVES, found)
