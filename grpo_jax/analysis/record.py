"""All statistics of rollouts, as numbers with their intervals; see `grpo_jax.runs.gradients`."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from grpo_jax.analysis import products
from grpo_jax.analysis.arms import ArmStatistics, Three, arms_of
from grpo_jax.analysis.bootstrap import Values, Weights, comparisons, interval, log_ratio, mean, ratio, resample
from grpo_jax.analysis.products import Vectors
from grpo_jax.analysis.rollouts import Sampled
from grpo_jax.analysis.subgroups import PER, Moments, Noise, Subgroups, group_sizes, moments, noise_of, orders
from grpo_jax.analysis.weighting import weightings
from grpo_jax.objectives import Aggregation
from grpo_jax.objectives.advantages import contrastive, group_normalized, leave_one_out, mean_centered
from grpo_jax.runs.estimates import TestedEstimate
from grpo_jax.runs.gradients import (
    Advantage,
    ArmsBySize,
    ArmsOfSize,
    GradientStatistics,
    NoiseOfSize,
    OfArms,
    ScoreMeans,
    Unit,
    VarianceOfArms,
    WeightingBySize,
    WeightingOfSize,
    pair_of,
)

ESTIMATORS: Mapping[Advantage, Callable[..., Any]] = {
    Advantage.N_VS_M: contrastive,
    Advantage.GRPO: partial(group_normalized, ddof=0),
    Advantage.DR_GRPO: mean_centered,
    Advantage.RLOO: leave_one_out,
}

# Group sizes are compared per these units. Per sampled token the comparison is the same as per rollout.
COMPARED = (Unit.ROLLOUT, Unit.LEARNED_TOKEN, Unit.PROMPT)


def statistics(
    sampled: Sampled,
    vectors: Vectors,
    aggregation: Aggregation,
    *,
    tolerance: float,
    cuts: int,
    resamples: int,
    seed: int,
) -> GradientStatistics:
    """Return all statistics of rollouts with these vectors.

    Args:
      vectors: gradients of summed log-probabilities. They are weighted in place, as the aggregation says.
      tolerance: see `objectives.outcomes.rewards_differ`.
    """
    prompts, samples = sampled.rewards.shape
    lengths, width = sampled.rollouts.completion_lengths, sampled.rollouts.completion_tokens.shape[-1]
    weights = resample(prompts, resamples, seed)
    order = orders(prompts, samples, cuts, seed)
    of_sums = products.within(vectors)
    # A loss divides by the mean share of many completions, which is practically its expectation.
    factors = np.asarray(aggregation.weight(lengths, width) / aggregation.denominator(lengths).mean(), np.float64)
    vectors *= factors.astype(np.float32)[..., None]
    inner = of_sums * factors[:, :, None] * factors[:, None, :]
    groups = {size: Subgroups(order, size, inner) for size in group_sizes(samples)}
    found = {
        name: [moments(partial(estimator, tolerance=tolerance), of_size, sampled) for of_size in groups.values()]
        for name, estimator in ESTIMATORS.items()
    }
    noise = {name: [noise_of(one, vectors, weights) for one in sizes] for name, sizes in found.items()}
    return GradientStatistics(
        sizes=list(groups),
        reward=float(sampled.rewards[sampled.scored].mean()) if sampled.scored.any() else None,
        unscored=int((~sampled.scored).sum()),
        mean_length=float(lengths.mean()),
        estimators={name: {one.size: _noise(one) for one in sizes} for name, sizes in noise.items()},
        comparisons={name: _comparisons(sizes) for name, sizes in noise.items()},
        dividing_by_std=_dividing(noise),
        scores=_scores(weights, of_sums, inner),
        arms=_arms(sampled, groups, vectors, weights),
        weighting=_weighting(sampled, found[Advantage.N_VS_M], order, vectors, weights),
    )


def _noise(noise: Noise) -> NoiseOfSize:
    return NoiseOfSize(
        signal=interval(noise.signal),
        variance=interval(noise.variance),
        within_share=interval(noise.within_share),
        snr={unit: interval(per(noise)) for unit, per in PER.items()},
    )


def _comparisons(sizes: Sequence[Noise]) -> dict[Unit, dict[str, TestedEstimate]]:
    """Return the log ratios of signal-to-noise of every two group sizes."""
    return {
        unit: comparisons(
            {
                pair_of(first.size, second.size): log_ratio(PER[unit](first), PER[unit](second))
                for second, first in combinations(sizes, 2)
            }
        )
        for unit in COMPARED
    }


def _dividing(noise: Mapping[Advantage, Sequence[Noise]]) -> dict[int, TestedEstimate]:
    """Return the log ratios of signal-to-noise with and without a division by the group's standard deviation.

    Pairs are left out, because the standard deviation of a right and a wrong completion is always 1/2.
    """
    pairs = zip(noise[Advantage.GRPO], noise[Advantage.DR_GRPO], strict=True)
    return comparisons(
        {
            divided.size: log_ratio(divided.per_prompt, centered.per_prompt)
            for divided, centered in pairs
            if divided.size > 2
        }
    )


def _scores(weights: Weights, of_sums: Float[np.ndarray, "N S S"], inner: Float[np.ndarray, "N S S"]) -> ScoreMeans:
    """Return the squared length of a prompt's mean vector over that of a single vector.

    For summed log-probabilities its expectation is 0, because p g+ + (1-p) g- = 0. A mean over tokens breaks this. The
    true value cannot be negative, so only a positive estimate can be resolved.
    """
    diagonal = np.arange(inner.shape[1])

    def share(of: Float[np.ndarray, "N S S"]) -> Values:
        own = of[:, diagonal, diagonal]
        others = (of.sum((1, 2)) - own.sum(1)) / (of.shape[1] * (of.shape[1] - 1))
        return ratio(mean(weights, others), mean(weights, own.mean(1)))

    found = comparisons({"summed": share(of_sums), "as_aggregated": share(inner)})
    above = {name: dataclasses.replace(one, resolved=one.resolved and one.value > 0) for name, one in found.items()}
    return ScoreMeans(**above)


def _arms(sampled: Sampled, groups: Mapping[int, Subgroups], vectors: Vectors, weights: Weights) -> ArmsBySize | None:
    """Return the arms' statistics; None if the reward does not say what is right, or hardly any group has both arms."""
    if sampled.right is None:
        return None
    right, wrong = sampled.right & sampled.scored, ~sampled.right & sampled.scored
    found = [arms_of(of_size, right, wrong, vectors, weights) for of_size in groups.values()]
    arms = [of_size for of_size in found if of_size]
    if len(arms) < len(found):
        return None
    return ArmsBySize(
        sizes={one.size: _of_arms(one) for one in arms},
        rho_total=comparisons({one.size: one.total.rho for one in arms}),
        rho_within=comparisons({one.size: one.within.rho for one in arms}),
        rho_across=comparisons({one.size: one.across.rho for one in arms}),
        log_left_at_1=comparisons({one.size: _log(one.total.left(1.0)) for one in arms}),
        log_snr_gain_at_1=comparisons({one.size: _log(one.gain(1.0)) for one in arms}),
        log_snr_gain_at_best=comparisons({one.size: _log(one.gain(one.total.best)) for one in arms}),
    )


def _of_arms(arms: ArmStatistics) -> ArmsOfSize:
    def variance(of: Three) -> VarianceOfArms:
        return VarianceOfArms(
            right=interval(of.right),
            wrong=interval(of.wrong),
            covariance=interval(of.both),
            rho=interval(of.rho),
            best_c=interval(of.best),
            left_at_best=interval(of.left(of.best)),
            left_at_1=interval(of.left(1.0)),
        )

    return ArmsOfSize(
        both_share=interval(arms.both_share),
        signal=OfArms(right=interval(arms.signal.right), wrong=interval(arms.signal.wrong)),
        total=variance(arms.total),
        within=variance(arms.within),
        across=variance(arms.across),
        split_prompts=arms.split_prompts,
        regrouped=arms.regrouped,
        repaired=arms.repaired,
    )


def _weighting(
    sampled: Sampled, found: Sequence[Moments], order: Int[np.ndarray, "R N S"], vectors: Vectors, weights: Weights
) -> WeightingBySize | None:
    """Return the test of Proposition 5.1; None unless there are just two rewards, one for right and one for wrong.

    It uses the prompts whose rollouts all have a verdict.
    """
    whole = sampled.scored.all(axis=1)
    values = np.unique(sampled.rewards[sampled.scored])
    if sampled.right is None or len(values) != 2 or whole.sum() < 2:
        return None
    if ((sampled.rewards == values[1]) != sampled.right)[sampled.scored].any():
        return None
    sizes = weightings(found, order, sampled.right, vectors, weights * whole)
    return WeightingBySize(
        prompts=int(whole.sum()),
        sizes={
            one.size: WeightingOfSize(
                measured=interval(one.measured),
                predicted=interval(one.predicted),
                agreement=interval(one.agreement),
                cosine=interval(one.cosine),
            )
            for one in sizes
        },
        log_measured=comparisons({one.size: _log(one.measured) for one in sizes[1:]}),
        log_agreement=comparisons({one.size: _log(one.agreement) for one in sizes[1:]}),
        cosine_below_1=comparisons({one.size: 1 - one.cosine for one in sizes[1:]}),
    )


def _log(values: Values) -> Values:
    return log_ratio(values, np.ones_like(values))
