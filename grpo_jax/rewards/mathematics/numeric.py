"""Whether expressions are equal, by their values at random points in high precision. Runs in workers only.

Two analytic expressions that agree to forty digits at several random points are the same, for all that occurs in
answers, while a difference that is only rounding shrinks when the precision grows. It takes about a millisecond, and
never makes an expression larger, as `simplify` can. It is no proof: of an expression in pieces (absolute values,
maxima, roots of squares), a piece is seen if it covers much of one of `RANGES`, and nothing beyond 1000 is. Variables
are real numbers, also where the problem means whole ones.
"""

import random
from collections.abc import Callable, Iterator, Mapping

import mpmath
from mpmath import mp

from grpo_jax.rewards.mathematics.answer import Relation
from grpo_jax.rewards.mathematics.expression import Node, names
from grpo_jax.rewards.mathematics.formula import Formula

DIGITS, MORE_DIGITS = 60, 120
AGREED = mpmath.mpf(10) ** -40  # relative
SHRUNK = mpmath.mpf(10) ** -40  # a difference of rounding does at least that, from DIGITS to MORE_DIGITS
NEAR = ((0.2, 2.5), (-2.5, -0.2), (-2.5, 2.5))  # of the values of variables, in turn
WIDE = ((3.0, 30.0), (-30.0, -3.0), (-30.0, 30.0), (30.0, 1000.0), (-1000.0, -30.0), (-1000.0, 1000.0))
RANGES = NEAR + WIDE
MAX_MAGNITUDE = 1600  # binary, up or down: where a value at a wide point passes it, the point is no evidence
WIDE_DIGITS = 1000  # at wide points, so that nothing is lost where such values cancel: cosh x - sinh x
POINTS, TRIED = 9, 27  # points at which expressions with variables must agree, and how many are tried


class Point(dict[str, mpmath.mpf]):
    """The values of variables."""

    wide = False


class UndefinedError(ValueError):
    """The gold expression has a value nowhere."""


def same_formulas(gold: Formula, answer: Formula) -> bool:
    """Whether two formulas of our grammar are equal at the points where both are real, or both complex if none is.

    Raises:
      UndefinedError: if the gold formula has no value anywhere.
    """
    assert gold.node is not None
    assert answer.node is not None
    variables = sorted(names(gold.node) | names(answer.node))
    defined = False
    agreed = {True: 0, False: 0}  # by whether the values are real
    differed = {True: 0, False: 0}
    for point in _points(variables):
        try:
            value = _value(gold.node, point, DIGITS)
        except (ArithmeticError, ValueError):
            continue
        defined = True
        try:
            other = _value(answer.node, point, DIGITS)
        except (ArithmeticError, ValueError):
            if not variables:
                return False
            continue
        real, other_real = _is_real(value), _is_real(other)
        if real != other_real and variables:
            continue
        if _agree(value, other) and (_close(value, other) or _shrinks(gold.node, answer.node, point, value - other)):
            agreed[real] += 1
        elif point.wide and not _differ(gold.node, answer.node, point):
            continue
        elif real or not variables:
            return False
        else:
            differed[False] += 1
        if not variables or agreed[True] == POINTS:
            return True
    if not defined:
        raise UndefinedError("the gold answer has no value")
    return agreed[True] >= 2 or (not agreed[True] and not differed[False] and agreed[False] >= 2)


def same_relations(gold: Relation, answer: Relation) -> bool:
    """Whether the sides of two equations, or inequalities, differ by the same, up to a constant factor.

    The factor may have any sign in an equation; in an inequality it must be positive.
    """
    if gold.sign != answer.sign or None in (gold.left.node, gold.right.node, answer.left.node, answer.right.node):
        return False
    ours, theirs = (Node("sum", (r.left.node, Node("negative", (r.right.node,)))) for r in (gold, answer))  # type: ignore[arg-type]
    variables = sorted(names(ours) | names(theirs))
    ratios: list[mpmath.mpc] = []
    for point in _points(variables) if variables else ():
        try:
            digits = WIDE_DIGITS if point.wide else DIGITS
            value, other = _value(ours, point, digits), _value(theirs, point, digits)
        except (ArithmeticError, ValueError):
            continue
        if abs(value) < AGREED or abs(other) < AGREED:
            if not point.wide and not _close(value, other):
                return False
            continue
        ratios.append(value / other)
        if not _close(ratios[0], ratios[-1]):
            return False
        if len(ratios) == POINTS:
            break
    if len(ratios) < 2:
        return False
    return gold.sign in ("=", "\\ne") or (_is_real(ratios[0]) and mp.re(ratios[0]) > 0)


def _agree(value: mpmath.mpc, other: mpmath.mpc) -> bool:
    """A first look: whether a difference could be one of rounding."""
    return _close(value, other) or abs(value - other) < AGREED


def _close(value: mpmath.mpc, other: mpmath.mpc) -> bool:
    if value == other or mp.isinf(value) or mp.isinf(other):
        return bool(value == other)
    return abs(value - other) <= AGREED * max(abs(value), abs(other))


def _shrinks(gold: Node, answer: Node, point: Point, difference: mpmath.mpc) -> bool:
    try:
        finer = _value(gold, point, MORE_DIGITS) - _value(answer, point, MORE_DIGITS)
    except (ArithmeticError, ValueError):
        return False
    return abs(finer) <= SHRUNK * abs(difference)


def _is_real(value: mpmath.mpc) -> bool:
    return abs(mp.im(value)) <= AGREED * (1 + abs(value))


def _differ(gold: Node, answer: Node, point: Point) -> bool:
    """Whether the values at a wide point differ for certain, and not because terms cancel."""
    try:
        value, other = _value(gold, point, WIDE_DIGITS), _value(answer, point, WIDE_DIGITS)
    except (ArithmeticError, ValueError):
        return False
    return not _close(value, other)


def _points(variables: list[str]) -> Iterator[Point]:
    """The same points each time: positive ones, negative ones, and ones of any sign; first near zero, then wide."""
    rng = random.Random(" ".join(variables))
    for number in range(TRIED if variables else 1):
        low, high = RANGES[number % len(RANGES)]
        point = Point((name, mpmath.mpf(rng.uniform(low, high))) for name in variables)
        point.wide = number % len(RANGES) >= len(NEAR)
        yield point


def _value(node: Node, point: Point, digits: int) -> mpmath.mpc:
    with mp.workdps(digits):
        value = _evaluate(node, point)
        if mp.isnan(mp.re(value)) or mp.isnan(mp.im(value)):
            raise ArithmeticError("not a number")
        return +value


def _evaluate(node: Node, point: Point) -> mpmath.mpc:
    if node.operation == "number":
        return mp.mpf(node.value.numerator) / node.value.denominator
    if node.operation == "symbol":
        return point[node.name]
    if node.operation == "constant":
        return CONSTANTS[node.name]()
    operation = OPERATIONS.get(node.operation)
    if operation is None:  # a greatest common divisor of what is not whole
        raise ArithmeticError(node.operation)
    value = operation(*(_evaluate(argument, point) for argument in node.arguments))
    if point.wide and value and abs(mp.mag(value)) > MAX_MAGNITUDE:
        raise OverflowError(node.operation)
    return value


def _root(of: mpmath.mpc, degree: mpmath.mpc) -> mpmath.mpc:
    """The real root of odd degree for negative numbers, as people mean it."""
    if not mp.im(of) and mp.re(of) < 0 and mp.isint(degree) and int(degree) % 2:
        return -mp.power(-of, 1 / degree)
    return mp.power(of, 1 / degree)


def _product(*factors: mpmath.mpc) -> mpmath.mpc:
    total = mp.mpf(1)
    for factor in factors:
        total = total * factor
    return total


CONSTANTS: Mapping[str, Callable[[], mpmath.mpc]] = {
    "pi": lambda: +mp.pi,
    "e": lambda: +mp.e,
    "i": lambda: mp.mpc(0, 1),
    "infinity": lambda: mp.inf,
}

OPERATIONS: Mapping[str, Callable[..., mpmath.mpc]] = {
    "sum": lambda *terms: sum(terms, mp.mpf(0)),
    "negative": lambda a: -a,
    "product": _product,
    "quotient": lambda a, b: a / b,
    "power": mp.power,
    "root": _root,
    "factorial": mp.factorial,
    "binomial": mp.binomial,
    "absolute": abs,
    "floor": mp.floor,
    "ceiling": mp.ceil,
    "max": max,
    "min": min,
    "ln": mp.ln,
    "log": lambda a, base: mp.ln(a) / mp.ln(base),
    "exp": mp.exp,
    **{name: getattr(mp, name) for name in ("sin", "cos", "tan", "cot", "sec", "csc", "sinh", "cosh", "tanh")},
    "arcsin": mp.asin,
    "arccos": mp.acos,
    "arctan": mp.atan,
}
