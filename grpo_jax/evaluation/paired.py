"""Statistics of few runs that are paired by their seeds: intervals, tests, ratios, and what so few of them can show.

Intervals are 95 % and by Student's t, which takes differences between seeds for normal; with five seeds there is no
more to go by. They are over seeds: how far the number would move with other prompts orders and other sampling, on the
same problems and from the same base policy.

Curves are read on straight lines between evaluations, and only where these stand closely: a learning curve is steepest
after its first step, and a line from there to a late first evaluation says of a good run that it is slow.
"""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import optimize, stats

LEVEL = 0.95
ENUMERATED = 15  # runs: beyond them the 2^n flips of signs are too many
WIDEST = 0.5  # the distance of two evaluations between which a curve is read, as a share of where it is read


class Estimate(NamedTuple):
    """A number with its interval; infinite bounds for a single run."""

    value: float
    low: float
    high: float


def mean_interval(values: Sequence[float]) -> Estimate:
    """The mean, and mean +- t s / sqrt(n)."""
    array = np.asarray(values, np.float64)
    mean, n = float(array.mean()), len(array)
    if n < 2:
        return Estimate(mean, -np.inf, np.inf)
    half = float(stats.t.ppf((1 + LEVEL) / 2, n - 1) * array.std(ddof=1) / np.sqrt(n))
    return Estimate(mean, mean - half, mean + half)


def share_interval(values: Sequence[float]) -> Estimate:
    """`mean_interval` of shares: what lies outside of 0 to 1 is cut off, which cannot lower its coverage."""
    mean, low, high = mean_interval(values)
    return Estimate(mean, max(low, 0.0), min(high, 1.0))


def ratio_interval(numerators: Sequence[float], denominators: Sequence[float]) -> Estimate:
    """The ratio R of two paired means, by the delta method: the interval of the mean of (y_i - R x_i) / mean x.

    It holds if the denominators' mean is known to a few per cent. tests/evaluation/test_paired.py has its coverage.
    """
    y, x = np.asarray(numerators, np.float64), np.asarray(denominators, np.float64)
    ratio = float(y.mean() / x.mean())
    around = mean_interval((y - ratio * x) / x.mean())
    return Estimate(ratio, ratio + around.low, ratio + around.high)


def sign_flip_p(differences: Sequence[float]) -> float:
    """The exact two-sided p of paired differences: the share of all 2^n flips of signs with a mean as far from 0.

    It assumes nothing but that without an effect a difference is as likely as its negative. n pairs cannot give less
    than 2 / 2^n: .0625 for five.

    Raises:
      ValueError: for more than 15 differences.
    """
    if len(differences) > ENUMERATED:
        raise ValueError(f"{len(differences)} differences: their flips are enumerated for at most {ENUMERATED}")
    array = np.asarray(differences, np.float64)
    sums = np.abs(np.array(list(itertools.product((1, -1), repeat=len(array)))) @ array)
    return float((sums >= sums[0] - 1e-12 * np.abs(array).sum()).mean())  # ties, whatever their sums are rounded to


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's correction of the p of one table, in their order: what holds at 5 % holds for all of them together."""
    order = np.argsort(p_values)
    corrected = np.array([(len(p_values) - rank) * p_values[index] for rank, index in enumerate(order)])
    adjusted = np.minimum(np.maximum.accumulate(corrected), 1.0)
    return [float(adjusted[list(order).index(index)]) for index in range(len(p_values))]


def detectable(differences: Sequence[float], power: float = 0.8) -> float:
    """The smallest true difference that a t test of so many pairs, which spread like these, finds so often at 5 %."""
    n, spread = len(differences), float(np.std(differences, ddof=1))
    critical = stats.t.ppf(0.975, n - 1)

    def found(effect: float) -> float:  # effect: in standard errors of the mean difference
        return float(stats.nct.sf(critical, n - 1, effect)) - power  # the other tail has no weight to speak of

    return float(optimize.brentq(found, 0.0, min(3 * critical + 5, 30))) * spread / float(np.sqrt(n))


def seen(spent: Float[np.ndarray, " n"], budget: float) -> bool:
    """Whether a curve can be read where so much was spent: at an evaluation, or between two that stand closely.

    That is no farther apart than half of what was spent, so never between the start and the first.
    """
    if not spent[0] <= budget <= spent[-1]:
        return False
    after = int(np.searchsorted(spent, budget))
    return bool(spent[after] == budget or spent[after] - spent[after - 1] <= WIDEST * budget)


def at_budget(spent: Float[np.ndarray, " n"], values: Float[np.ndarray, " n"], budget: float) -> float | None:
    """A curve's value where so much was spent, linear between evaluations; None where it is not `seen`."""
    return float(np.interp(budget, spent, values)) if seen(spent, budget) else None


def cost_to(spent: Float[np.ndarray, " n"], values: Float[np.ndarray, " n"], target: float) -> float | None:
    """What was spent when a curve first came to a target, linear between evaluations; None if it never did.

    Whether it is `seen` there is for the caller to ask.
    """
    reached = np.flatnonzero(values >= target)
    if len(reached) == 0:
        return None
    after = int(reached[0])
    if after == 0:
        return float(spent[0])
    share = (target - values[after - 1]) / (values[after] - values[after - 1])
    return float(spent[after - 1] + share * (spent[after] - spent[after - 1]))
