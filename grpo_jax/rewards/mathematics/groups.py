r"""Compare two tuples, lists, sets, matrices or ratios, given how to compare their parts."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction

from grpo_jax.rewards.mathematics import moments, vectors
from grpo_jax.rewards.mathematics.answer import (
    ALTERNATIVES,
    BARE,
    INFINITE,
    MATRIX,
    MINUS_INFINITE,
    NAMED,
    OPEN,
    RATIO,
    SEQUENCE,
    UNION,
    Answer,
    Items,
    Statement,
    as_vector,
)
from grpo_jax.rewards.mathematics.formula import Formula
from grpo_jax.rewards.mathematics.naming import is_variable
from grpo_jax.rewards.mathematics.truth import all_of, any_of

Equal = Callable[[Answer, Answer], bool | None]

# Brackets that can mean the same: `1, 2` may stand for (1, 2) or for a set. Alternatives such as `x = 1 or x = 2` may
# stand for a set only, because (1, 2) is a point or an interval.
COMPATIBLE = (
    {BARE, "("}, {BARE, r"\{"}, {BARE, ALTERNATIVES}, {ALTERNATIVES, r"\{"}, {BARE, SEQUENCE}, {SEQUENCE, "("},
    {NAMED, "("}, {NAMED, BARE}, {NAMED, SEQUENCE},
)  # fmt: skip
IN_ANY_ORDER = frozenset((UNION, ALTERNATIVES, r"\{"))


def same_items(equal: Equal, gold: Items, answer: Items) -> bool | None:
    """Return whether two groups of answers are equal."""
    gold, answer = _as_vectors(_by_letters(gold), _by_letters(answer))
    if gold.opening == answer.opening == RATIO:
        return _ratios(equal, gold, answer)
    if (gold.opening, gold.closing) != (answer.opening, answer.closing) and not _compatible(gold, answer):
        return False
    kinds = {gold.opening, answer.opening}
    if kinds & IN_ANY_ORDER:
        return all_of(
            any_of(equal(a, b) for b in other)
            for one, other in ((gold.items, answer.items), (answer.items, gold.items))
            for a in one
        )
    if len(gold.items) != len(answer.items):
        return False
    if kinds == {BARE} and len(set(gold.items)) == len(gold.items):
        return _in_any_order(equal, gold.items, answer.items)
    return all_of(itertools.starmap(equal, zip(gold.items, answer.items, strict=True)))


def _by_letters(items: Items) -> Items:
    """Return `y = 2, x = 1` in the order of its letters, which is the order of a point's coordinates."""
    names = _names(items)
    if items.opening != NAMED or not all(map(is_variable, names)):
        return items
    places = sorted(range(len(names)), key=lambda place: [text.lstrip("\\") for text in names[place]])
    return replace(items, items=tuple(items.items[place] for place in places))


def _names(items: Items) -> list[tuple[str, ...]]:
    return [item.name for item in items.items if isinstance(item, Statement)]


def _in_any_order(equal: Equal, gold: Sequence[Answer], answer: Sequence[Answer]) -> bool | None:
    """Return whether the items can be matched one to one with the others."""
    left = list(answer)
    unknown = False
    for item in gold:
        truths = [equal(item, other) for other in left]
        if True in truths:
            del left[truths.index(True)]
        elif None in truths:
            unknown = True
        else:
            return False
    return None if unknown else True


def _ratios(equal: Equal, gold: Items, answer: Items) -> bool | None:
    """Return whether two ratios are equal: 2:4 equals 1:2, but 12:30 may be a time, and 3:45 PM is one."""
    if len(gold.items) != len(answer.items):
        return False
    ours, theirs = _values(gold), _values(answer)
    measured = any(isinstance(item, Formula) and item.unit is not None for item in (*gold.items, *answer.items))
    if (
        measured
        or moments.is_written_as_time(gold)
        or len(ours) < len(gold.items)
        or len(theirs) < len(ours)
        or not all(ours + theirs)
    ):
        return all_of(itertools.starmap(equal, zip(gold.items, answer.items, strict=True)))
    return all(one * theirs[0] == other * ours[0] for one, other in zip(ours, theirs, strict=True))


def same_as_formula(equal: Equal, gold: Items, answer: Formula) -> bool | None:
    """Return whether a formula equals the group: 3/4 for 3:4, 100,200 for a list of two, 3i - 2j for a vector."""
    vector = as_vector(gold)
    parts = vectors.components(answer, len(vector.items)) if vector.opening == "(" else None
    if parts is not None:
        return same_items(equal, vector, parts)
    values = _values(gold)
    if len(values) < len(gold.items):
        return False
    if gold.opening == RATIO and len(values) == 2 and values[1] and not moments.is_written_as_time(gold):
        return values[0] / values[1] == answer.value
    if len(answer.tokens) == 1 and "," in answer.tokens[0] and gold.opening in (BARE, SEQUENCE, r"\{"):
        numbers = [Fraction(number) for number in answer.tokens[0].split(",")]
        return values == numbers or (gold.opening != SEQUENCE and sorted(values) == sorted(numbers))
    return False


def _compatible(gold: Items, answer: Items) -> bool:
    if {gold.opening, answer.opening} in COMPATIBLE:
        if "(" not in (gold.opening, answer.opening):
            return True
        closed = all(items.opening != "(" or items.closing == ")" for items in (gold, answer))
        names = [_names(gold), _names(answer)]
        return closed and all(all(map(is_variable, one)) and len(set(one)) == len(one) for one in names)
    return (gold.opening, answer.opening, answer.closing) == (OPEN, "(", ")")  # an interval, which (1, 2) need not be


def _as_vectors(gold: Items, answer: Items) -> tuple[Items, Items]:
    """Return a matrix of one column or row as a tuple if the other answer is a tuple."""
    if {gold.opening, answer.opening} == {MATRIX, "("}:
        return as_vector(gold), as_vector(answer)
    if {gold.opening, answer.opening} <= {UNION, OPEN, "("} and UNION in (gold.opening, answer.opening):
        return _intervals(gold), _intervals(answer)
    return gold, answer


def _intervals(union: Items) -> Items:
    """Return a union with its bounded open intervals marked as such, since no part of it can be a point."""
    if union.opening != UNION:
        return union
    items = (item.values[-1] if isinstance(item, Statement) else item for item in union.items)
    marked = (
        Items(OPEN, OPEN, item.items)
        if isinstance(item, Items) and (item.opening, item.closing) == ("(", ")")
        and item.items[:1] != (MINUS_INFINITE,) and item.items[1:] != (INFINITE,)
        else item
        for item in items
    )  # fmt: skip
    return Items(UNION, UNION, tuple(marked))


def _values(items: Items) -> list[Fraction]:
    """Return the values of the items that are rational numbers."""
    return [item.value for item in items.items if isinstance(item, Formula) and item.value is not None]
