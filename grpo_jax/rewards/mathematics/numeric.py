"""Compare expressions by their values at random points, in high precision. Only workers use this module.

Two analytic expressions that agree to forty digits at several random points are equal, as far as expressions in answers
go. (More digits are computed where intermediate values are large or small: 10^{99} + x is not 10^{99} + 2x.) A
difference that is only rounding shrinks when the precision grows. A comparison takes about a millisecond and never
makes an expression larger, as `simplify` can. It is no proof. A piece of a function (from absolute values, maxima,
roots of squares) is noticed only if it covers much of one of `RANGES`, and nothing beyond 1000 is noticed. Variables
are real numbers, even where the problem means whole ones.
"""

import itertools
import random
from collections.abc import Callable, Iterator, Mapping, Sequence

import mpmath
from mpmath import mp

from grpo_jax.rewards.mathematics import exact
from grpo_jax.rewards.mathematics.answer import Relation
from grpo_jax.rewards.mathematics.expression import HYPERBOLIC, TRIGONOMETRIC, Node, names, nodes
from grpo_jax.rewards.mathematics.formula import Formula
from grpo_jax.rewards.mathematics.measures import POSITIVE, WHOLE

DIGITS, MORE_DIGITS = 60, 120
DIGITS_PER_BIT = 0.30103
MAX_DIGITS = 12_500  # where intermediate values are so large that fewer would hide what is added to them
MAX_WIDE_DIGITS = 300  # the same for a first look at wide points, which matter less
SHRUNK = mpmath.mpf(10) ** -40  # a rounding difference shrinks at least by this factor, from DIGITS to MORE_DIGITS
NEAR = ((0.2, 2.5), (-2.5, -0.2), (-2.5, 2.5))  # ranges of the values of variables, used in turn
WIDE = ((3.0, 30.0), (-30.0, -3.0), (-30.0, 30.0), (30.0, 1000.0), (-1000.0, -30.0), (-1000.0, 1000.0))
RANGES = NEAR + WIDE
SPAN, LEAST = 15, -10  # pairs of whole numbers that variables may be, and the first of them
MAX_MAGNITUDE = 1600  # binary, up or down: a wide point with a larger or smaller value is no evidence
WIDE_DIGITS = 1000  # at wide points, so that nothing is lost where large values cancel: cosh x - sinh x
POINTS, TRIED = 9, 27  # points at which expressions with variables must agree, and how many are tried


class Point(dict[str, mpmath.mpf]):
    """Values of variables. `span` records how large or small intermediate values became."""

    wide = False
    span = 0  # binary digits


class UndefinedError(ValueError):
    """The gold expression has no value at any point."""


def same_formulas(gold: Formula, answer: Formula) -> bool:
    r"""Return whether two formulas are equal wherever both are real, or both complex if none is real anywhere.

    Values that are not real may differ if the formulas agree at more than two points with real values: \ln a + \ln b is
    \ln ab. If one of them takes an absolute value, they must be real at the same points: \ln|x| is not \ln x.

    Raises:
      UndefinedError: if the gold formula has no value anywhere.
    """
    assert gold.node is not None
    assert answer.node is not None
    variables = sorted(names(gold.node) | names(answer.node))
    absolute = _takes_absolute(gold.node) != _takes_absolute(answer.node)
    defined = False
    agreed = {True: 0, False: 0}  # by whether the values are real
    differed = 0  # not real
    whole = _whole_numbers(gold.node) | (_rounded(gold.node) & _whole_numbers(answer.node))
    rounded = _rounded(gold.node) | _rounded(answer.node)
    if gold.measure == WHOLE:
        whole = frozenset(variables)
    for point in _points(variables, whole, rounded, gold.measure == POSITIVE):
        try:
            computed(gold.node, point, DIGITS)
        except (ArithmeticError, ValueError):
            continue
        defined = True
        try:
            value, other, tolerance = _values(gold.node, answer.node, point, DIGITS)
        except (ArithmeticError, ValueError):
            if not variables:
                return False
            continue
        real = is_real(value, tolerance)
        if real != is_real(other, tolerance) and variables:
            if absolute and not point.wide:
                return False
            continue
        if _close(value, other, tolerance) or _shrinks(gold.node, answer.node, point, value - other):
            agreed[real] += 1
        elif point.wide and not _differ(gold.node, answer.node, point):
            continue
        elif real or not variables:
            return False
        else:
            differed += 1
        if not variables or agreed[True] == POINTS:
            break
    if not defined:
        raise UndefinedError("the gold answer has no value")
    if not variables:
        return sum(agreed.values()) == 1
    return agreed[True] > 2 or (not differed and max(agreed.values()) >= 2)


def same_relations(gold: Relation, answer: Relation) -> bool:
    """Return whether the sides of two equations, or inequalities, have the same difference up to a constant factor.

    The factor may have any sign in an equation; in an inequality it must be positive.
    """
    if gold.sign != answer.sign or None in (gold.left.node, gold.right.node, answer.left.node, answer.right.node):
        return False
    ours, theirs = (Node("sum", (r.left.node, Node("negative", (r.right.node,)))) for r in (gold, answer))  # type: ignore[arg-type]
    variables = sorted(names(ours) | names(theirs))
    ratios: list[mpmath.mpc] = []
    for point in _points(variables, frozenset()) if variables else ():
        try:
            value, other, tolerance = _values(ours, theirs, point, WIDE_DIGITS if point.wide else DIGITS)
        except (ArithmeticError, ValueError):
            continue
        if abs(value) < tolerance or abs(other) < tolerance:
            if not point.wide and not _close(value, other, tolerance):
                return False
            continue
        ratios.append(value / other)
        if not _close(ratios[0], ratios[-1], tolerance):
            return False
        if len(ratios) == POINTS:
            break
    if len(ratios) < 2:
        return False
    return gold.sign in ("=", "\\ne") or (is_real(ratios[0], tolerance_of(DIGITS)) and mp.re(ratios[0]) > 0)


def _takes_absolute(node: Node) -> bool:
    return any(inner.operation == "absolute" for inner in nodes(node))


def _whole_numbers(node: Node) -> frozenset[str]:
    """Return the variables in exponents of negative numbers: the n of (-1)^n."""
    powers = (inner.arguments for inner in nodes(node) if inner.operation == "power")
    return frozenset[str]().union(*(names(exponent) for base, exponent in powers if (exact.rational(base) or 0) < 0))


def _rounded(node: Node) -> frozenset[str]:
    """Return the variables in expressions that are rounded down or up."""
    return frozenset[str]().union(*(names(inner) for inner in nodes(node) if inner.operation in ("floor", "ceiling")))


def tolerance_of(digits: int) -> mpmath.mpf:
    """Return the relative difference up to which values computed with this many digits count as equal."""
    return mpmath.mpf(10) ** -(2 * digits // 3)


def _close(value: mpmath.mpc, other: mpmath.mpc, tolerance: mpmath.mpf) -> bool:
    if value == other or mp.isinf(value) or mp.isinf(other):
        return bool(value == other)
    return abs(value - other) <= tolerance * max(abs(value), abs(other))


def _shrinks(gold: Node, answer: Node, point: Point, difference: mpmath.mpc) -> bool:
    """Return whether a small difference between values near zero is only rounding."""
    if abs(difference) > tolerance_of(DIGITS):
        return False
    try:
        value, other, _ = _values(gold, answer, point, MORE_DIGITS)
    except (ArithmeticError, ValueError):
        return False
    return abs(value - other) <= SHRUNK * abs(difference)


def is_real(value: mpmath.mpc, tolerance: mpmath.mpf) -> bool:
    """Return whether a value has no imaginary part, apart from rounding."""
    return abs(mp.im(value)) <= tolerance * (1 + abs(value))


def _differ(gold: Node, answer: Node, point: Point) -> bool:
    """Return whether the values at a wide point differ for certain, and not because terms cancel."""
    try:
        value, other, tolerance = _values(gold, answer, point, WIDE_DIGITS)
    except (ArithmeticError, ValueError):
        return False
    return not _close(value, other, tolerance)


def _points(
    variables: list[str], whole: frozenset[str], rounded: frozenset[str] = frozenset(), positive: bool = False
) -> Iterator[Point]:
    """Yield the same points each time: positive, negative and of any sign; first near zero, then wide."""
    for number, point in enumerate(sample_points(variables, RANGES, TRIED if variables else 1)):
        counted = whole | rounded if number % 3 != 1 else whole  # rounded expressions jump at whole numbers
        point |= {name: mpmath.mpf(_whole(point[name], odd=number % 2)) for name in counted & point.keys()}
        if positive:
            point |= {name: abs(value) for name, value in point.items()}
        point.wide = number % len(RANGES) >= len(NEAR)
        yield point


def _whole(value: mpmath.mpf, odd: int) -> int:
    """Return a whole number that depends on a random one."""
    return 2 * (int(abs(value) * 1000) % SPAN) + LEAST + odd


def sample_points(variables: list[str], ranges: Sequence[tuple[float, float]], number: int) -> Iterator[Point]:
    """Yield the same points each time, from each range in turn."""
    rng = random.Random(" ".join(variables))
    for low, high in itertools.islice(itertools.cycle(ranges), number):
        yield Point((name, mpmath.mpf(rng.uniform(low, high))) for name in variables)


def _values(gold: Node, answer: Node, point: Point, digits: int) -> tuple[mpmath.mpc, mpmath.mpc, mpmath.mpf]:
    """Return both values at a point, and the relative difference up to which they are equal.

    They are computed again with more digits if intermediate values are so large or small that one gets lost in another.
    """
    point.span = 0
    value, other = (computed(node, point, digits) for node in (gold, answer))
    if point.span * DIGITS_PER_BIT > digits // 6:
        most = MAX_WIDE_DIGITS if point.wide and digits == DIGITS else MAX_DIGITS
        digits += int(2 * DIGITS_PER_BIT * point.span)
        if digits > most:
            raise OverflowError("a value that is too large")
        value, other = (computed(node, point, digits) for node in (gold, answer))
    return value, other, tolerance_of(digits)


def computed(node: Node, point: Point, digits: int) -> mpmath.mpc:
    """Return the value of an expression at a point. Raises ArithmeticError or ValueError if it has none."""
    with mp.workdps(digits):
        value = _evaluate(node, point)
        if mp.isnan(mp.re(value)) or mp.isnan(mp.im(value)):
            raise ArithmeticError("not a number")
        return +value


def _evaluate(node: Node, point: Point) -> mpmath.mpc:
    if node.operation == "number":
        value = mp.mpf(node.value.numerator) / node.value.denominator
        point.span = max(point.span, node.value.denominator.bit_length())
    elif node.operation == "symbol":
        return point[node.name]
    elif node.operation == "constant":
        if node.name == "infinity":
            raise ArithmeticError("infinity is not a number")
        return CONSTANTS[node.name]()
    else:
        value = _operation(node, [_evaluate(argument, point) for argument in node.arguments], point)
    if value and mp.isfinite(value):
        magnitude = mp.mag(value)
        if point.wide and abs(magnitude) > MAX_MAGNITUDE:
            raise OverflowError(node.operation)
        point.span = max(point.span, abs(int(magnitude)))
    return value


def _operation(node: Node, values: list[mpmath.mpc], point: Point) -> mpmath.mpc:
    if node.operation == "apply":  # every name stands for a different function
        return mp.cos(point[node.name] * values[0] + 1) * point[node.name]
    if node.operation in SATURATED and mp.isfinite(values[0]):
        point.span = max(
            point.span, int(min(3 * abs(values[0]), MAX_DIGITS * 4))
        )  # how many binary digits it is from 1
    if node.operation == "power" and not mp.im(values[0]) and mp.re(values[0]) < 0:
        exponent = exact.rational(node.arguments[1])
        if exponent is not None and exponent.denominator > 1 and exponent.denominator % 2:
            return mp.power(_root(values[0], mp.mpf(exponent.denominator)), exponent.numerator)
    operation = OPERATIONS.get(node.operation)
    if operation is None:  # a greatest common divisor of numbers that are not whole
        raise ArithmeticError(node.operation)
    return operation(*values)


def _root(of: mpmath.mpc, degree: mpmath.mpc) -> mpmath.mpc:
    """Return a root; for negative numbers and odd degrees the real one, as people mean it."""
    if not mp.im(of) and mp.re(of) < 0 and mp.isint(degree) and int(degree) % 2:
        return -mp.power(-of, 1 / degree)
    return mp.power(of, 1 / degree)


def _product(*factors: mpmath.mpc) -> mpmath.mpc:
    total = mp.mpf(1)
    for factor in factors:
        total = total * factor
    return total


SATURATED = frozenset(("tanh", "coth"))
CONSTANTS: Mapping[str, Callable[[], mpmath.mpc]] = {
    "pi": lambda: +mp.pi,
    "e": lambda: +mp.e,
    "i": lambda: mp.mpc(0, 1),
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
    **{name: getattr(mp, name) for name in (*TRIGONOMETRIC, *HYPERBOLIC, "coth")},
    **{f"arc{name}": getattr(mp, f"a{name}") for name in (*TRIGONOMETRIC, *HYPERBOLIC)},
}
