"""Take the times of alternatives in turn: the runs of a turn see nearly the same machine, so their ratios say more."""

import argparse
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeVar

import jax

Name = TypeVar("Name")


class Spent(NamedTuple):
    """The milliseconds of a run: those of the clock, and those of this process on all processors."""

    wall: float
    cpu: float


class Ratio(NamedTuple):
    """The median of the ratios of several turns, and their quartiles."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.3f}, quartiles {self.low:.3f} and {self.high:.3f}"


def several(text: str) -> int:
    """Return the number of turns that a flag names. Raise ArgumentTypeError below 2, which have no quartiles."""
    if not text.isdecimal() or int(text) < 2:
        raise argparse.ArgumentTypeError(f"{text}: must be a whole number of at least 2")
    return int(text)


def in_turn(ways: Mapping[Name, Callable[[int], object]], turns: int) -> dict[Name, list[Spent]]:
    """Return what each run took, by its way.

    Args:
      ways: functions of the number of the turn, whose results are waited for. Turn 0 is not measured: it compiles.
      turns: how often each way is measured.
    """
    found: dict[Name, list[Spent]] = {name: [] for name in ways}
    for turn in range(turns + 1):
        for name, run in ways.items():
            began, cpu_began = time.perf_counter(), time.process_time()
            jax.block_until_ready(run(turn))
            spent = Spent(1e3 * (time.perf_counter() - began), 1e3 * (time.process_time() - cpu_began))
            if turn:
                found[name].append(spent)
    return found


def medians(runs: Sequence[Spent]) -> Spent:
    """Return the medians of several runs."""
    return Spent(*map(statistics.median, zip(*runs, strict=True)))


def ratio(ones: Sequence[float], others: Sequence[float]) -> Ratio:
    """Return the ratio of the first times to the second ones, turn by turn."""
    ratios = [one / other for one, other in zip(ones, others, strict=True)]
    low, median, high = statistics.quantiles(ratios, n=4, method="inclusive")  # none lies outside of the ratios
    return Ratio(median, low, high)
