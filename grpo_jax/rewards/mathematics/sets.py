"""Sets of real numbers: intervals, unions of them, inequalities, all numbers except some."""

import itertools
import math
import operator
import re
from collections.abc import Sequence
from fractions import Fraction

from grpo_jax.rewards.mathematics.answer import (
    EMPTY_SET,
    INFINITE,
    MINUS_INFINITE,
    OPEN,
    SEQUENCE,
    UNION,
    Answer,
    Items,
    Reader,
    Relation,
    Statement,
    listed,
    of_either_sign,
)
from grpo_jax.rewards.mathematics.brackets import Tokens, split, texts_of
from grpo_jax.rewards.mathematics.formula import Formula, formula
from grpo_jax.rewards.mathematics.naming import is_name, name_of
from grpo_jax.rewards.mathematics.notation import Token

NAMES = frozenset(("\\emptyset", "\\mathbb", "\\setminus"))
NOTHING = EMPTY_SET
REALS = Items("(", ")", (MINUS_INFINITE, INFINITE))
WITH_NAMES: dict[tuple[str, ...], Items] = {
    ("\\emptyset",): EMPTY_SET,
    ("\\mathbb", "R"): REALS,
    ("\\mathbb", "{", "R", "}"): REALS,
}
ALL_REALS = re.compile(
    r"(x is )?(all|any|every)( the)? reals?( numbers?| values?)?( of x| x)?|(the )?(set of )?(all )?real numbers?"
)
LESS, MORE = {"<": "<", "\\le": "\\le"}, {">": "<", "\\ge": "\\le"}
ORDERED = frozenset((*LESS, *MORE, "\\ne"))
STRICTLY = {"<": operator.lt, ">": operator.gt}
OPENED, CLOSED = {"<": "(", "\\le": "["}, {"<": ")", "\\le": "]"}


def named(tokens: Tokens, read: Reader) -> Answer | None:
    r"""Return the empty set, the real numbers, or the real numbers except some: \mathbb{R} \setminus \{1, 2\}."""
    whole = WITH_NAMES.get(texts_of(tokens))
    if whole is not None:
        return whole
    parts, found = split(tokens, ("\\setminus", "-"))
    if len(found) != 1 or not all(parts):
        return None
    of = WITH_NAMES.get(texts_of(parts[0])) or (read(parts[0]) if found == ["\\setminus"] else None)
    without = read(parts[1]) if is_interval(of) else None
    rest = _complement(without) if isinstance(without, Items) else None
    if rest is None or of == REALS:
        return rest
    return _common([of, rest]) if isinstance(of, Items) and isinstance(rest, Items) else None


def _complement(of: Items) -> Answer | None:
    """Return the real numbers outside of an interval, or except some points."""
    if of.opening in "([" and of.closing in ")]" and len(of.items) == 2:
        below = Items("(", ")" if of.opening == "[" else "]", (MINUS_INFINITE, of.items[0]))
        above = Items("(" if of.closing == "]" else "[", ")", (of.items[1], INFINITE))
        return listed(UNION, [below, above])
    return all_but(of.items) if of.opening == r"\{" else None


def all_reals(tokens: Tokens, read: Reader) -> Answer | None:
    """Return all real numbers, or all except some, in words."""
    place = next((place for place, token in enumerate(tokens) if token.text.lower() in ("except", "but")), len(tokens))
    if not ALL_REALS.fullmatch(" ".join(texts_of(tokens[:place])).casefold()):
        return None
    rest = [token for token in tokens[place + 1 :] if token.kind != "word" or token.text in ("and", "or")]
    if not rest:
        return REALS if place == len(tokens) else None
    without = read(rest)
    points = without.items if isinstance(without, Items) else (without,)
    return all_but([point.values[-1] if isinstance(point, Statement) else point for point in points])


def all_but(points: Sequence[Answer]) -> Answer | None:
    """Return the real numbers except some points, as intervals; None if the points cannot be sorted easily."""
    if len(points) > 1:
        values = [point.value for point in points if isinstance(point, Formula)]
        known = [value for value in values if value is not None]
        if len(known) < len(points):
            return None
        points = [points[place] for place in sorted(range(len(points)), key=known.__getitem__)]
    ends = [MINUS_INFINITE, *points, INFINITE]
    return listed(UNION, [Items("(", ")", pair) for pair in itertools.pairwise(ends)])


def union(tokens: Tokens, read: Reader) -> Answer | None:
    r"""Return the set that an expression with \cup or \cap describes."""
    parts, found = split(tokens, ("\\cup",))
    if found:
        return listed(UNION, [read(part) for part in parts])
    parts, found = split(tokens, ("\\cap",))
    sets = [read(part) for part in parts if part] if found else []
    known = [one for one in sets if isinstance(one, Items) and is_interval(one)]
    return _common(known) if known and len(known) == len(sets) else None


def interval(opening: str, closing: str, low: Answer, high: Answer) -> Items:
    """Return an interval that cannot be a point, not even if it is (1, 2)."""
    if (opening, closing) == ("(", ")") and low != MINUS_INFINITE and high != INFINITE:
        opening = closing = OPEN
    return Items(opening, closing, (low, high))


def is_interval(answer: Answer | None) -> bool:
    """Return whether an answer is an interval, which may also be a point, or a union of two."""
    if isinstance(answer, Statement):
        return answer.name[:1] != ("(",) and all(map(is_interval, answer.values))
    return isinstance(answer, Items) and answer.opening in ("(", "[", OPEN, UNION) and len(answer.items) == 2


def intersection(items: Sequence[Answer]) -> Answer | None:
    r"""Return the set of `x > 1, x < 3`, of `x \ne 1, x \ne 2` or of `x \ne 1, 2`; None if names differ."""
    first = items[0]
    if not isinstance(first, Statement):
        return None
    parts: list[Items] = []
    points: list[Answer] = []
    for item in items:
        inner = item.values[0] if isinstance(item, Statement) and item.name == first.name else item
        if isinstance(inner, Items) and inner is not item:
            parts += [inner] if inner != REALS else []
        elif isinstance(inner, Formula) and inner is item:
            points.append(inner)
        else:
            return None
    without = all_but(points) if points else None
    common = _common([*parts, without] if isinstance(without, Items) else parts)
    if common is not None:
        return Statement(first.name, (common,))
    lower = [part for part in parts if part.items[1:] == (INFINITE,)]
    upper = [part for part in parts if part.items[:1] == (MINUS_INFINITE,)]
    if points or len(parts) != 2 or len(lower) != 1 or len(upper) != 1:
        return None
    return Statement(first.name, (interval(lower[0].opening, upper[0].closing, lower[0].items[0], upper[0].items[1]),))


def _common(sets: Sequence[Items]) -> Items | None:
    """Return the intersection of several intervals and unions; None if it is empty or unknown."""
    found: list[Items] = [REALS]
    for one in sets:
        parts = one.items if one.opening == UNION else (one,)
        met = [_meet(other, part) for part in parts for other in found]
        if None in met:
            return None
        found = [part for part in met if part and part is not NOTHING]
    return (found[0] if len(found) == 1 else listed(UNION, found)) if found else None


def _meet(one: Items, other: Answer) -> Items | None:
    """Return the intersection of two intervals, or `NOTHING`; None if an end is not a rational number."""
    if not isinstance(other, Items) or len(other.items) != 2 or other.opening not in ("(", "[", OPEN):
        return None
    lows = [(end_of(part.items[0]), part.opening != "[", part.items[0]) for part in (one, other)]
    highs = [(end_of(part.items[1]), part.closing == "]", part.items[1]) for part in (one, other)]
    if any(end is None for end, _, _ in (*lows, *highs)):
        return None
    low, is_open, first = max(lows, key=operator.itemgetter(0, 1))
    high, is_closed, last = min(highs, key=operator.itemgetter(0, 1))
    if low > high or (low == high and (is_open or not is_closed)):  # type: ignore[operator]
        return NOTHING
    return interval("(" if is_open else "[", "]" if is_closed else ")", first, last)


def end_of(of: Answer) -> Fraction | float | None:
    """Return the end of an interval as a number; None if it is neither rational nor infinite."""
    if of in (INFINITE, MINUS_INFINITE):
        return math.inf if of == INFINITE else -math.inf
    return of.value if isinstance(of, Formula) else None


def inequality(tokens: Tokens, read: Reader) -> Answer | None:
    """Return the interval of a name, or the relation of two expressions."""
    parts, found = split(tokens, ORDERED)
    if not found or not all(parts):
        return None
    if found == ["\\ne"]:
        if is_name(parts[0]) and not is_name(parts[1]):
            rest = all_but(of_either_sign(read(parts[1])))
            return rest and Statement(name_of(texts_of(parts[0])), (rest,))
        return Relation("\\ne", formula(parts[0]), formula(parts[1]))
    chain = _chain(parts, found, read) if len(parts) > 2 else None
    if chain is not None:
        return chain
    if all(sign in MORE for sign in found):  # turned round
        parts, found = parts[::-1], [MORE[sign] for sign in found[::-1]]
    if not all(sign in LESS for sign in found) or len(parts) > 3:
        return formula(tokens)
    absolute = _absolute(parts, found[0], read) if len(parts) == 2 else None
    if absolute is not None:
        return absolute
    match [is_name(part) for part in parts]:
        case [True, False]:
            name, within = parts[0], interval("(", CLOSED[found[0]], MINUS_INFINITE, read(parts[1]))
        case [False, True]:
            name, within = parts[1], interval(OPENED[found[0]], ")", read(parts[0]), INFINITE)
        case [False, True, False]:
            name, within = parts[1], interval(OPENED[found[0]], CLOSED[found[1]], read(parts[0]), read(parts[2]))
        case [_, _]:
            return Relation(found[0], formula(parts[0]), formula(parts[1]))
        case _:
            return formula(tokens)
    return Statement(name_of(texts_of(name)), (within,))


def _chain(parts: Sequence[Tokens], signs: Sequence[str], read: Reader) -> Items | None:
    """Return the numbers of 1 < 2 < 3 in their order; None if the chain is false, or has a value that is not known."""
    numbers = [read(part) for part in parts]
    values = [number.value for number in numbers if isinstance(number, Formula) and number.value is not None]
    if len(values) < len(parts) or len(set(signs)) > 1 or signs[0] not in STRICTLY:
        return None
    return listed(SEQUENCE, numbers) if all(itertools.starmap(STRICTLY[signs[0]], itertools.pairwise(values))) else None


def _absolute(parts: Sequence[Tokens], sign: str, read: Reader) -> Statement | None:
    """Return |x| < 2 or |x| > 2 as a statement about x; None for anything else."""
    for bars, bound in ((0, 1), (1, 0)):
        inside = parts[bars][1:-1]
        if texts_of([parts[bars][0], parts[bars][-1]]) == ("|", "|") and is_name(inside):
            minus = [Token("sign", "-"), Token("sign", "("), *parts[bound], Token("sign", ")")]
            low, high = read(minus), read(parts[bound])
            if bars == 0:
                return Statement(name_of(texts_of(inside)), (interval(OPENED[sign], CLOSED[sign], low, high),))
            below = Items("(", CLOSED[sign], (MINUS_INFINITE, low))
            above = Items(OPENED[sign], ")", (high, INFINITE))
            return Statement(name_of(texts_of(inside)), (listed(UNION, [below, above]),))
    return None
