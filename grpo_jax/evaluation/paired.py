"""Statistics of few runs that are paired by their seeds: intervals, tests, ratios, and what so few of them can show.

Intervals are by Student's t, which takes differences between seeds for normal; with five seeds there is no more to go
by: the exact test by flips of signs cannot give a p below .0625, so with it nothing could ever be resolved. They are
over seeds: how far the number would move with other prompts orders and other sampling, on the same problems and from
the same base policy.

A table of many comparisons, each at 5 %, calls something resolved that is not far more often than that. So the p of a
table are decided together, by Holm's procedure, which holds for comparisons that depend on each other in any way: if
there is no difference at all, 95 % of tables resolve nothing. `decide` also says at which level each was decided, and a
comparison's intervals are drawn at that level. They are never narrower than 95 % ones, and leave out 0 just where the
difference is resolved.

Curves are read on straight lines between evaluations, and only where these stand closely: a learning curve is steepest
after its first step, and a line from there to a late first evaluation says of a good run that it is slow.
"""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import optimize, stats

ALPHA = 0.05
ENUMERATED = 15  # runs: beyond them the 2^n flips of signs are too many
WIDEST = 0.5  # the distance of two evaluations between which a curve is read, as a share of where it is read


class Estimate(NamedTuple):
    """A number with its interval; infinite bounds for a single run."""

    value: float
    low: float
    high: float


def mean_interval(values: Sequence[float], alpha: float = ALPHA) -> Estimate:
    """Return the mean, and mean +- t s / sqrt(n), which misses the true mean in a share `alpha` of cases."""
    array = np.asarray(values, np.float64)
    mean, n = float(array.mean()), len(array)
    if n < 2:
        return Estimate(mean, -np.inf, np.inf)
    half = float(_critical(alpha, n) * array.std(ddof=1) / np.sqrt(n))
    return Estimate(mean, mean - half, mean + half)


def share_interval(values: Sequence[float]) -> Estimate:
    """`mean_interval` of shares: what lies outside of 0 to 1 is cut off, which cannot lower its coverage."""
    mean, low, high = mean_interval(values)
    return Estimate(mean, max(low, 0.0), min(high, 1.0))


def ratio_interval(numerators: Sequence[float], denominators: Sequence[float], alpha: float = ALPHA) -> Estimate:
    """Return the ratio of two paired means with Fieller's interval (1954).

    It holds every r at which the t interval of the mean of y - r x holds 0. So it leaves out 1 just where the interval
    of the differences leaves out 0. Bounds are infinite where the denominators' own interval holds 0.
    """
    y, x = np.asarray(numerators, np.float64), np.asarray(denominators, np.float64)
    ratio, n = float(y.mean() / x.mean()), len(y)
    if n < 2:
        return Estimate(ratio, -np.inf, np.inf)
    (yy, yx), (_, xx) = np.cov(y, x) * _critical(alpha, n) ** 2 / n
    # a r^2 - 2 b r + c <= 0
    a, b, c = x.mean() ** 2 - xx, x.mean() * y.mean() - yx, y.mean() ** 2 - yy
    if a <= 0:
        return Estimate(ratio, -np.inf, np.inf)
    half = float(np.sqrt(max(b * b - a * c, 0.0)))
    return Estimate(ratio, float((b - half) / a), float((b + half) / a))


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


class Decision(NamedTuple):
    """What a table says of one of its comparisons."""

    p: float  # of the t test of this comparison alone, two-sided
    holm: float  # corrected for the table
    alpha: float  # the level that it was decided at: of its intervals
    resolved: bool


def decide(table: Sequence[Sequence[float]]) -> list[Decision]:
    """Return which of a table's differences are not 0, at 5 % for all of them together (Holm, 1979).

    Comparison k of m, from the smallest p on, is decided at 5 % / (m - k + 1), until one is not resolved; at that one's
    level all that follow are unresolved. Those whose seeds do not differ at all have the p 1: with no spread no number
    of them says anything of others.

    Args:
      table: of every comparison the differences, seed by seed; two or more.
    """
    if not table:
        return []
    p = _t_p(np.asarray(table, np.float64))
    corrected = holm(p)
    resolved = [of_all <= ALPHA for of_all in corrected]
    # Equal p are decided together, at the most cautious of their levels.
    levels = [ALPHA / sum(other >= own for other in p) for own in p]
    stopped = min((level for level, yes in zip(levels, resolved, strict=True) if not yes), default=ALPHA)
    first = [level if yes else stopped for level, yes in zip(levels, resolved, strict=True)]
    return [Decision(*of_one) for of_one in zip(p, corrected, first, resolved, strict=True)]


def spread(differences: Sequence[float]) -> bool:
    """Return whether seeds differ at all."""
    return bool(np.ptp(differences) > 1e-12)


def _t_p(table: Float[np.ndarray, "comparisons pairs"]) -> list[float]:
    n, deviations = table.shape[1], table.std(axis=1, ddof=1)
    t = np.abs(table.mean(axis=1)) * np.sqrt(n) / np.where(deviations > 0, deviations, 1.0)
    p = 2 * stats.t.sf(t, n - 1)
    return [float(own) if spread(row) else 1.0 for own, row in zip(p, table.tolist(), strict=True)]


def _critical(alpha: float, n: int) -> float:
    """Student's t that n values exceed in a share alpha of cases, on both sides together."""
    return float(stats.t.isf(alpha / 2, n - 1))


def detectable(differences: Sequence[float], power: float = 0.8, alpha: float = ALPHA) -> float:
    """The smallest true difference that a t test of so many pairs, which spread like these, finds so often."""
    n, deviation = len(differences), float(np.std(differences, ddof=1))
    critical = _critical(alpha, n)
    # Of the chance to find it, over what n values may take for their spread.
    shares = np.sqrt(stats.chi2.ppf((np.arange(2000) + 0.5) / 2000, n - 1) / (n - 1))

    def found(effect: float) -> float:  # effect: in standard errors of the mean difference
        return float(stats.norm.cdf(effect - critical * shares).mean()) - power  # the other tail has no weight

    return float(optimize.brentq(found, 0.0, 3 * critical + 5)) * deviation / float(np.sqrt(n))


def seen(spent: Float[np.ndarray, " points"], budget: float) -> bool:
    """Whether a curve can be read where so much was spent: at an evaluation, or between two that stand closely.

    That is no farther apart than half of what was spent, so never between the start and the first.
    """
    if not spent[0] <= budget <= spent[-1]:
        return False
    after = int(np.searchsorted(spent, budget))
    return bool(spent[after] == budget or spent[after] - spent[after - 1] <= WIDEST * budget)


def at_budget(spent: Float[np.ndarray, " points"], values: Float[np.ndarray, " points"], budget: float) -> float | None:
    """A curve's value where so much was spent, linear between evaluations; None where it is not `seen`."""
    return float(np.interp(budget, spent, values)) if seen(spent, budget) else None


def cost_to(spent: Float[np.ndarray, " points"], values: Float[np.ndarray, " points"], target: float) -> float | None:
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
