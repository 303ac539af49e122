"""Compare answers with arbitrary constants: whether they describe the same solutions, points of a line or angles.

Only workers use this module. As in `numeric.py`, agreement in high precision counts as equality.
"""

from collections.abc import Iterator, Sequence

import mpmath
from mpmath import mp

from grpo_jax.rewards.mathematics.answer import LEAST, Progressions
from grpo_jax.rewards.mathematics.expression import Node, names
from grpo_jax.rewards.mathematics.numeric import DIGITS, NEAR, Point, computed, is_real, sample_points, tolerance_of

SAMPLES = 12  # points at which functions are compared
COUNTED = 60  # members of a progression that are computed in each direction
COVERED = 0.4  # progressions are compared up to this share of their smallest computed end, where both are complete
MIN_MEMBERS = 3  # that two progressions must share there
SURPLUS_EQUATIONS = 3  # beyond as many as there are constants, so that they do not agree by chance

Functions = Sequence[Node]
Vector = list[mpmath.mpf]


@mp.workdps(DIGITS)  # type: ignore[untyped-decorator]
def same_spaces(gold: Functions, answer: Functions, known: frozenset[str]) -> bool:
    """Return whether two expressions, or two points, take the same set of values as their constants vary.

    Both must be linear in their constants: sums of constants times functions, as the solutions of linear equations are.

    Args:
      known: the letters that the question uses, which are not constants.
    """
    letters = frozenset[str]().union(*map(names, gold))
    ours = _new(letters, known) - VARIABLES - (TIME if len(gold) == 1 else frozenset())
    fixed = letters - ours
    theirs = _new(frozenset[str]().union(*map(names, answer)), known) - fixed - VARIABLES
    if not ours or not theirs or len(ours | theirs) > MAX_CONSTANTS:
        return False
    points = list(sample_points(sorted(fixed | letters | known | VARIABLES), NEAR, SAMPLES))
    found = []
    both = [(point, _values(gold, point, ours), _values(answer, point, theirs)) for point in points]
    if any((one is None) != (other is None) for _, one, other in both):
        return False  # ln x has no value where ln |x| has
    usable = [point for point, one, _ in both if one is not None]
    if len(usable) * len(gold) < len(ours | theirs) + SURPLUS_EQUATIONS:
        return False
    for functions, constants in ((gold, ours), (answer, theirs)):
        space = _space(functions, sorted(constants), usable)
        if space is None:
            return False
        found.append(space)
    (start, span), (other_start, other_span) = found
    between = [one - other for one, other in zip(start, other_start, strict=True)]
    return all(_is_in(vector, other_span) for vector in (*span, between)) and all(
        _is_in(vector, span) for vector in other_span
    )


VARIABLES = frozenset("xyznmfg")
TIME = frozenset("t")  # a variable in a single expression, but the parameter of a line in several coordinates
MAX_CONSTANTS = 6


def _new(letters: frozenset[str], known: frozenset[str]) -> frozenset[str]:
    """Return the unknown letters. An index does not matter: if v is known, so is v_0."""
    return frozenset(letter for letter in letters if letter.partition("_")[0] not in known)


def _values(
    functions: Functions, point: Point, constants: frozenset[str] | Sequence[str], of: int = 0
) -> Vector | None:
    """Return the values at a point where each constant is `of`; None if one is not real."""
    here = Point(point | dict.fromkeys(constants, mp.mpf(of)))
    try:
        values = [computed(function, here, DIGITS) for function in functions]
    except (ArithmeticError, ValueError):
        return None
    return [mp.re(value) for value in values] if all(is_real(value, tolerance_of(DIGITS)) for value in values) else None


def _space(
    functions: Functions, constants: Sequence[str], points: Sequence[Point]
) -> tuple[Vector, list[Vector]] | None:
    """Return the values with all constants 0, and the change that each constant causes; None if that is not linear."""

    def at(amounts: Sequence[int]) -> Vector | None:
        values: Vector = []
        for point in points:
            here = Point(point | {name: mp.mpf(amount) for name, amount in zip(constants, amounts, strict=True)})
            found = _values(functions, here, ())
            if found is None:
                return None
            values += found
        return values

    start = at([0] * len(constants))
    ones = [at([int(place == one) for place in range(len(constants))]) for one in range(len(constants))]
    amounts = list(range(2, 2 + len(constants)))
    mixed = at(amounts)
    if start is None or mixed is None or None in ones:
        return None
    span = [[one - zero for one, zero in zip(column, start, strict=True)] for column in ones if column is not None]
    sums = (
        zero + sum(amount * column[place] for amount, column in zip(amounts, span, strict=True))
        for place, zero in enumerate(start)
    )
    linear = all(abs(one - other) <= SMALL * (1 + abs(one)) for one, other in zip(mixed, sums, strict=True))
    return (start, span) if linear else None


SMALL = mpmath.mpf(10) ** -30


def _is_in(vector: Vector, span: Sequence[Vector]) -> bool:
    """Return whether a vector is a linear combination of others."""
    basis: list[Vector] = []
    for one in (*span, vector):
        rest = one
        for other in basis:
            factor = _product(rest, other)
            rest = [a - factor * b for a, b in zip(rest, other, strict=True)]
        size = mp.sqrt(_product(rest, rest))
        small = size <= SMALL * (1 + mp.sqrt(_product(one, one)))
        if one is vector:
            return bool(small)
        if not small:
            basis.append([a / size for a in rest])
    return False


def _product(one: Vector, other: Vector) -> mpmath.mpf:
    return sum((a * b for a, b in zip(one, other, strict=True)), mp.mpf(0))


@mp.workdps(DIGITS)  # type: ignore[untyped-decorator]
def same_progressions(gold: Progressions, answer: Progressions) -> bool:
    """Return whether two families of numbers, one for each whole number k, have the same members."""
    return any(
        _same_members(gold.functions, first, answer.functions, other)
        for first in LEAST[gold.of]
        for other in LEAST[answer.of]
    )


def _same_members(gold: Functions, first: int | None, answer: Functions, other_first: int | None) -> bool:
    try:
        ours, theirs = list(_members(gold, first)), list(_members(answer, other_first))
    except (ArithmeticError, ValueError):
        return False
    ends = [abs(values[-1]) for values in (*ours, *theirs)]
    for family, least in ((ours, first), (theirs, other_first)):
        ends += [abs(values[0]) for values in family if least is None]
    end = COVERED * min(ends)
    kept = [_within(family, end) for family in (ours, theirs)]
    return len(kept[0]) == len(kept[1]) >= MIN_MEMBERS and all(
        abs(one - other) <= SMALL * (1 + abs(one)) for one, other in zip(*kept, strict=True)
    )


def _members(functions: Functions, first: int | None) -> Iterator[Vector]:
    for function in functions:
        values = [
            computed(function, Point(k=mp.mpf(k)), DIGITS)
            for k in range(-COUNTED if first is None else first, COUNTED + 1)
        ]
        if not all(is_real(value, tolerance_of(DIGITS)) for value in values):
            raise ArithmeticError("a member that is not real")
        yield [mp.re(value) for value in values]


def _within(family: Sequence[Vector], end: mpmath.mpf) -> Vector:
    """Return the members from `-end` to `end`, each once, sorted."""
    kept: Vector = []
    for value in sorted(value for values in family for value in values if abs(value) <= end):
        if not kept or abs(value - kept[-1]) > SMALL * (1 + abs(value)):
            kept.append(value)
    return kept
