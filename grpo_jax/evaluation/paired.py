"""Statistics of a few runs that are paired by their seeds: intervals, tests, ratios and power.

Intervals use Student's t, which assumes that differences between seeds are normal. With five seeds there is no
alternative: the p of the exact sign-flip test is never below .0625, so it could not resolve anything. Intervals are
over seeds. They show how much a number varies with the order of prompts and the sampling, given the same problems and
the same base policy.

If each comparison of a large table is tested at 5 %, the table shows false differences far more often than that. So the
p values of a table are corrected together by Holm's procedure, which allows any dependence between comparisons. If
there is no difference at all, 95 % of tables resolve nothing. `decide` also returns the level at which each comparison
was decided, and its intervals use that level. They are never narrower than 95 % intervals, and they exclude 0 exactly
when the difference is resolved.

Curves are interpolated linearly between evaluations, and only if these are close together. A learning curve is steepest
at its beginning, so a straight line to a late first evaluation would make a good run look slow.
"""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import optimize, stats

from grpo_jax.runs.estimates import Estimate

ALPHA = 0.05
ENUMERATED = 15  # runs: with more, the 2^n sign flips are too many
WIDEST = 0.5  # the largest distance between two evaluations for interpolation, as a share of the budget there


def mean_interval(values: Sequence[float], alpha: float = ALPHA) -> Estimate:
    """Return the mean with the interval mean +- t s / sqrt(n), which misses the true mean with probability `alpha`."""
    array = np.asarray(values, np.float64)
    mean, n = float(array.mean()), len(array)
    if n < 2:
        return Estimate(mean, -np.inf, np.inf)
    half = float(_critical(alpha, n) * array.std(ddof=1) / np.sqrt(n))
    return Estimate(mean, mean - half, mean + half)


def share_interval(values: Sequence[float]) -> Estimate:
    """Return the `mean_interval` of shares, cut at 0 and 1, which cannot lower its coverage."""
    mean, low, high = mean_interval(values)
    return Estimate(mean, max(low, 0.0), min(high, 1.0))


def ratio_interval(numerators: Sequence[float], denominators: Sequence[float], alpha: float = ALPHA) -> Estimate:
    """Return the ratio of two paired means with Fieller's interval (1954).

    It contains every r for which the t interval of the mean of y - r x contains 0. So it excludes 1 exactly when the
    interval of the differences excludes 0. The bounds are infinite if the denominators' own interval contains 0.
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
    """Return the exact two-sided p of paired differences: the share of all 2^n sign flips with a mean as far from 0.

    The only assumption is that without an effect a difference is as likely as its negative. With n pairs the p is at
    least 2 / 2^n, which is .0625 for five.

    Raises:
      ValueError: for more than 15 differences.
    """
    if len(differences) > ENUMERATED:
        raise ValueError(f"{len(differences)} differences: sign flips can be enumerated for at most {ENUMERATED}")
    array = np.asarray(differences, np.float64)
    sums = np.abs(np.array(list(itertools.product((1, -1), repeat=len(array)))) @ array)
    return float((sums >= sums[0] - 1e-12 * np.abs(array).sum()).mean())  # ties count, however sums are rounded


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p values of one table with Holm's correction, in their order. They hold for the whole table."""
    order = np.argsort(p_values)
    corrected = np.array([(len(p_values) - rank) * p_values[index] for rank, index in enumerate(order)])
    adjusted = np.minimum(np.maximum.accumulate(corrected), 1.0)
    return [float(adjusted[list(order).index(index)]) for index in range(len(p_values))]


class Decision(NamedTuple):
    """The test of one comparison of a table."""

    p: float  # of the two-sided t test of this comparison alone
    holm: float  # corrected for the table
    alpha: float  # the level at which it was decided, and of its intervals
    resolved: bool


def decide(table: Sequence[Sequence[float]]) -> list[Decision]:
    """Test which of a table's differences are not 0, at 5 % for all of them together (Holm, 1979).

    In the order of their p, comparison k of m is decided at the level 5 % / (m - k + 1). The first one that is not
    resolved, and all after it, are unresolved at its level. If the seeds of a comparison do not differ at all, its p is
    1, since without any spread nothing can be said about other seeds.

    Args:
      table: the differences of every comparison, seed by seed; at least two each.
    """
    if not table:
        return []
    p = _t_p(np.asarray(table, np.float64))
    corrected = holm(p)
    resolved = [corrected_p <= ALPHA for corrected_p in corrected]
    # Equal p are decided together, at the strictest of their levels.
    levels = [ALPHA / sum(other >= own for other in p) for own in p]
    stopped = min((level for level, yes in zip(levels, resolved, strict=True) if not yes), default=ALPHA)
    first = [level if yes else stopped for level, yes in zip(levels, resolved, strict=True)]
    return [Decision(*of_one) for of_one in zip(p, corrected, first, resolved, strict=True)]


def spread(differences: Sequence[float]) -> bool:
    """Return whether the differences vary between seeds at all."""
    return bool(np.ptp(differences) > 1e-12)


def _t_p(table: Float[np.ndarray, "comparisons pairs"]) -> list[float]:
    n, deviations = table.shape[1], table.std(axis=1, ddof=1)
    t = np.abs(table.mean(axis=1)) * np.sqrt(n) / np.where(deviations > 0, deviations, 1.0)
    p = 2 * stats.t.sf(t, n - 1)
    return [float(own) if spread(row) else 1.0 for own, row in zip(p, table.tolist(), strict=True)]


def _critical(alpha: float, n: int) -> float:
    """Return the two-sided critical value of Student's t for n values at the level alpha."""
    return float(stats.t.isf(alpha / 2, n - 1))


def detectable(differences: Sequence[float], power: float = 0.8, alpha: float = ALPHA) -> float:
    """Return the smallest true difference that a t test with this many pairs and this spread finds with this power."""
    n, deviation = len(differences), float(np.std(differences, ddof=1))
    critical = _critical(alpha, n)
    # The power is averaged over the distribution of the estimated standard deviation.
    shares = np.sqrt(stats.chi2.ppf((np.arange(2000) + 0.5) / 2000, n - 1) / (n - 1))

    def found(effect: float) -> float:  # effect: in standard errors of the mean difference
        return float(stats.norm.cdf(effect - critical * shares).mean()) - power  # the other tail has no weight

    return float(optimize.brentq(found, 0.0, 3 * critical + 5)) * deviation / float(np.sqrt(n))


def is_known_at(spent: Float[np.ndarray, " points"], budget: float) -> bool:
    """Return whether a curve is known at this budget: at an evaluation, or between two that are close together.

    Close means at most half of the budget apart, so never between the start and the first evaluation after it.
    """
    if not spent[0] <= budget <= spent[-1]:
        return False
    after = int(np.searchsorted(spent, budget))
    return bool(spent[after] == budget or spent[after] - spent[after - 1] <= WIDEST * budget)


def at_budget(spent: Float[np.ndarray, " points"], values: Float[np.ndarray, " points"], budget: float) -> float | None:
    """Return a curve's value at this budget, linear between evaluations; None if it is not known there."""
    return float(np.interp(budget, spent, values)) if is_known_at(spent, budget) else None


def cost_to(spent: Float[np.ndarray, " points"], values: Float[np.ndarray, " points"], target: float) -> float | None:
    """Return the budget at which a curve first reaches a target, linear between evaluations; None if it never does.

    The caller must check whether the curve is known there (`is_known_at`).
    """
    reached = np.flatnonzero(values >= target)
    if len(reached) == 0:
        return None
    after = int(reached[0])
    if after == 0:
        return float(spent[0])
    share = (target - values[after - 1]) / (values[after] - values[after - 1])
    return float(spent[after - 1] + share * (spent[after] - spent[after - 1]))
