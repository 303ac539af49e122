"""Exact rational values of expressions, and limits beyond which expressions are not computed.

Nothing here takes long: every result is bounded before it is computed, and so is the total work (`work.py`).
"""

import math
from collections.abc import Callable
from fractions import Fraction

from grpo_jax.rewards.mathematics.expression import Node
from grpo_jax.rewards.mathematics.work import TooLargeError, spend

MAX_BITS = 20_000  # of a numerator or denominator
MAX_ROOT_BITS = 4_000  # of the number under a root; no rational root of a longer one is searched
MAX_EXPONENT = 10_000  # of any base that is not a number
ROOT_COST = 100  # units of work
MAX_COMBINATORIAL = 2_000  # the argument of a factorial, the top of a binomial


class NotRationalError(ValueError):
    """The expression has no rational value, or none that this module finds."""


def value_of(node: Node) -> Fraction:
    """Return the exact value of an expression over rational numbers.

    Raises:
      NotRationalError: if it has variables or irrational parts, or divides by zero.
      TooLargeError: if a number in it exceeds the limits above, even if the rest is not rational.
    """
    values = [rational(argument) for argument in node.arguments]
    if node.operation == "power" and values[0] is None and values[1] is not None and abs(values[1]) > MAX_EXPONENT:
        raise TooLargeError("a power that is too large")
    if None in values:
        raise NotRationalError(node.operation)
    if node.operation == "number":
        return node.value
    operation = OPERATIONS.get(node.operation)
    if operation is None:
        raise NotRationalError(node.operation)
    return _bounded(operation(*values))


def rational(node: Node) -> Fraction | None:
    """Return the exact value of an expression; None if `value_of` finds none. Raises TooLargeError as it does."""
    try:
        return value_of(node)
    except NotRationalError:
        return None


def _bounded(value: Fraction) -> Fraction:
    top, bottom = value.numerator.bit_length(), value.denominator.bit_length()
    if max(top, bottom) > MAX_BITS:
        raise TooLargeError("a number that is too large")
    bits = top + bottom
    if bits > 200:  # the cost of an atom covers smaller numbers
        spend(bits // 200 + (bits // 1000) ** 2 // 2)  # a fraction is reduced in quadratic time
    return value


def _sum(*terms: Fraction) -> Fraction:
    total = Fraction(0)
    for term in terms:
        total = _bounded(total + term)
    return total


def _product(*factors: Fraction) -> Fraction:
    total = Fraction(1)
    for factor in factors:
        total = _bounded(total * factor)
    return total


def _quotient(top: Fraction, bottom: Fraction) -> Fraction:
    if not bottom:
        raise NotRationalError("a division by zero")
    return top / bottom


def _power(base: Fraction, exponent: Fraction) -> Fraction:
    if exponent.denominator != 1:
        return _power(_root(base, Fraction(exponent.denominator)), Fraction(exponent.numerator))
    if base in (1, -1):
        return base if exponent % 2 else Fraction(1)
    if not base:
        if exponent <= 0:
            raise NotRationalError("a power of zero")
        return base
    if max(base.numerator.bit_length() - 1, base.denominator.bit_length() - 1, 1) * abs(exponent) > MAX_BITS:
        raise TooLargeError("a power that is too large")
    return base ** int(exponent)


def _root(of: Fraction, degree: Fraction) -> Fraction:
    if degree.denominator != 1 or not 0 < degree <= MAX_BITS or of < 0:
        raise NotRationalError("a root")
    if max(of.numerator.bit_length(), of.denominator.bit_length()) > MAX_ROOT_BITS:
        raise NotRationalError("a root of a number that is too large")
    return Fraction(_whole_root(of.numerator, int(degree)), _whole_root(of.denominator, int(degree)))


def _whole_root(of: int, degree: int) -> int:
    """Return the whole root of a number. Raises NotRationalError if there is none."""
    root = math.isqrt(of) if degree == 2 else _floor_root(of, degree)
    if root**degree != of:
        raise NotRationalError("a root")
    return root


def _floor_root(of: int, degree: int) -> int:
    """Return the largest whole number whose power does not exceed `of`, by Newton's method."""
    if of.bit_length() <= degree:  # below 2^degree
        return min(of, 1)
    spend(ROOT_COST)
    exponent = math.log2(of) / degree
    shift = max(int(exponent) - 50, 0)  # the binary digits that a float cannot hold
    root = (int(2 ** (exponent - shift) * (1 + 1e-9)) + 1) << shift  # a little too large, so Newton's steps only fall
    while True:
        lower = ((degree - 1) * root + of // root ** (degree - 1)) // degree
        if lower >= root:
            return root
        root = lower


def _factorial(of: Fraction) -> Fraction:
    if of > MAX_COMBINATORIAL:
        raise TooLargeError("a factorial that is too large")
    if of.denominator != 1 or of < 0:
        raise NotRationalError("a factorial")
    return Fraction(math.factorial(int(of)))


def _binomial(top: Fraction, bottom: Fraction) -> Fraction:
    if abs(top) > MAX_COMBINATORIAL or abs(bottom) > MAX_COMBINATORIAL:
        raise TooLargeError("a binomial that is too large")
    if top.denominator != 1 or bottom.denominator != 1 or top < 0 or bottom < 0:
        raise NotRationalError("a binomial")
    return Fraction(math.comb(int(top), int(bottom)))


def _of_integers(function: Callable[..., int]) -> Callable[..., Fraction]:
    def checked(*values: Fraction) -> Fraction:
        if any(value.denominator != 1 for value in values):
            raise NotRationalError("a fraction where a whole number must be")
        return Fraction(function(*(int(value) for value in values)))

    return checked


OPERATIONS: dict[str, Callable[..., Fraction]] = {
    "sum": _sum,
    "negative": lambda a: -a,
    "product": _product,
    "quotient": _quotient,
    "power": _power,
    "root": _root,
    "factorial": _factorial,
    "binomial": _binomial,
    "absolute": abs,
    "floor": lambda a: Fraction(math.floor(a)),
    "ceiling": lambda a: Fraction(math.ceil(a)),
    "max": max,
    "min": min,
    "gcd": _of_integers(math.gcd),
    "lcm": _of_integers(math.lcm),
}
