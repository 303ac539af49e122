"""Intervals by resampling prompts, and tests of differences.

A statistic is an array over resamples; its first entry is that of the sample itself. All statistics use the same
resamples, so their ratios and differences are paired. A prompt is drawn with all its rollouts. Their randomness is part
of the variation between prompts, so the intervals hold for new prompts with new rollouts.
"""

from collections.abc import Mapping
from typing import TypeVar

import numpy as np
from jaxtyping import Float

from grpo_jax.evaluation.paired import holm
from grpo_jax.randomness import HostStream, generator
from grpo_jax.runs.estimates import Estimate, TestedEstimate

LEVEL = 0.95

T = TypeVar("T")

Values = Float[np.ndarray, " resamples"]  # the estimate, then those of the resamples
Weights = Float[np.ndarray, "resamples N"]


def resample(prompts: int, resamples: int, seed: int) -> Weights:
    """Return how often each prompt counts: in the first row once each, in the others as drawn with replacement."""
    rng = generator(HostStream.RESAMPLED_PROMPTS, seed)
    drawn = rng.multinomial(prompts, np.full(prompts, 1 / prompts), size=resamples)
    return np.concatenate([np.ones((1, prompts)), drawn])


def mean(weights: Weights, values: Float[np.ndarray, " N"]) -> Values:
    """Return the mean over prompts."""
    return ratio(weights @ values, weights.sum(1))


def mean_between(
    weights: Weights,
    products: Float[np.ndarray, "N N"],
    first: Float[np.ndarray, " N"] | None = None,
    second: Float[np.ndarray, " N"] | None = None,
) -> Values:
    """Return the mean product of two different prompts.

    Different prompts are independent, so its expectation is the product of two expectations. A prompt that was drawn
    twice is not multiplied by itself.

    Args:
      first, second: how many terms each prompt's two vectors sum up; None is one.
    """
    first = np.ones(len(products)) if first is None else first
    second = first if second is None else second
    squared = weights**2
    total = ((weights @ products) * weights).sum(1) - squared @ products.diagonal()
    return ratio(total, (weights @ first) * (weights @ second) - squared @ (first * second))


def interval(values: Values) -> Estimate:
    """Return the estimate with its 95 % percentile interval. A NaN counts as beyond both ends."""
    low, high = (np.sort(np.where(np.isnan(values[1:]), bound, values[1:])) for bound in (-np.inf, np.inf))
    beyond = int((len(low) - 1) * (1 - LEVEL) / 2)  # on each side
    return Estimate(float(values[0]), float(low[beyond]), float(high[-1 - beyond]))


def p_value(values: Values) -> float:
    """Return the two-sided p value against 0, which is at least 2 / (resamples + 1)."""
    others = np.where(np.isnan(values[0]), np.nan, values[1:])
    below, above = ((~(others > 0)).sum(), (~(others < 0)).sum())  # NaN counts as both
    return float(min(2 * (min(below, above) + 1) / (len(others) + 1), 1.0))


def comparisons(table: Mapping[T, Values]) -> dict[T, TestedEstimate]:
    """Test which numbers of a table differ from 0."""
    p = [p_value(values) for values in table.values()]
    corrected = holm(p) if p else []
    return {
        name: TestedEstimate(*interval(values), raw, corrected_p <= 1 - LEVEL)
        for (name, values), raw, corrected_p in zip(table.items(), p, corrected, strict=True)
    }


def ratio(numerator: Values, denominator: Values) -> Values:
    """Return numerator / denominator, or NaN where the denominator is not above 0.

    Unbiased estimates of variances and squared lengths may be negative.
    """
    return numerator / np.where(denominator > 0, denominator, np.nan)


def root(values: Values) -> Values:
    """Return the square root, or NaN of a negative number."""
    return np.sqrt(np.where(values >= 0, values, np.nan))


def log_ratio(numerator: Values, denominator: Values) -> Values:
    """Return log(numerator / denominator), or NaN where one of them is not above 0."""
    return np.log(ratio(np.where(numerator > 0, numerator, np.nan), denominator))
