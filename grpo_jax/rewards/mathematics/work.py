"""Budgets of work for comparisons in the trainer's own process, where nobody can end a computation that takes too long.

Work is counted and not timed, so that an outcome depends neither on the machine nor on its load. Code that may run
often, or takes more than linear time, calls `spend` before the work; if the work is bounded, it may do so afterwards.
"""

import math
import threading

BUDGET = 8_000  # units for reading one answer; one is about a microsecond
COMPARING = 12_000  # units for comparing two answers: sets of 64 in different orders must fit


class TooLargeError(ValueError):
    """Beyond the limits: nested too deep, numbers too large to compute with, or too much work in all."""


class _Left(threading.local):
    units: float = math.inf


_LEFT = _Left()


class limited:  # noqa: N801 - a context manager; contextlib's takes as long as an easy pair's comparison
    """Bound the work of this thread within a `with` block. Blocks must not be nested."""

    def __init__(self, units: int = BUDGET):
        self._units = units

    def __enter__(self) -> None:
        _LEFT.units = self._units

    def __exit__(self, *raised: object) -> None:
        _LEFT.units = math.inf


def spend(units: int) -> None:
    """Count work. Raises TooLargeError if the budget of this thread's pair is used up."""
    _LEFT.units -= units
    if _LEFT.units < 0:
        raise TooLargeError("too much work for one pair")
