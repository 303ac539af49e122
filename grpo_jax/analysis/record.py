"""All statistics of rollouts as a record of plain numbers, with intervals as [value, low, high]."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from grpo_jax.analysis import products
from grpo_jax.analysis.arms import ArmStatistics, Baseline, Three, arms_of
from grpo_jax.analysis.bootstrap import Values, Weights, comparisons, interval, log_ratio, mean, over, resample
from grpo_jax.analysis.products import Vectors
from grpo_jax.analysis.rollouts import Sampled
from grpo_jax.analysis.subgroups import PER, Moments, Noise, Subgroups, group_sizes, moments, noise_of, orders
from grpo_jax.analysis.weighting import weightings
from grpo_jax.objectives import Aggregation
from grpo_jax.objectives.advantages import contrastive, group_normalized, leave_one_out, mean_centered

ESTIMATORS: Mapping[str, Callable[..., Any]] = {
    "n_vs_m": contrastive,
    "grpo": partial(group_normalized, ddof=0),
    "dr_grpo": mean_centered,
    "rloo": leave_one_out,
}

# Group sizes are compared per these units. Per sampled token the comparison is the same as per rollout.
COMPARED = ("rollout", "learned_token", "prompt")


def statistics(
    sampled: Sampled,
    vectors: Vectors,
    aggregation: Aggregation,
    *,
    tolerance: float,
    cuts: int,
    resamples: int,
    seed: int,
) -> dict[str, Any]:
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
    # A loss divides by the mean share of so many completions that it is practically its expectation.
    factors = np.asarray(aggregation.weight(lengths, width) / aggregation.denominator(lengths).mean(), np.float64)
    vectors *= factors.astype(np.float32)[..., None]
    inner = of_sums * factors[:, :, None] * factors[:, None, :]
    groups = {size: Subgroups(order, size, inner) for size in group_sizes(samples)}
    found = {
        name: [moments(partial(estimator, tolerance=tolerance), of_size, sampled) for of_size in groups.values()]
        for name, estimator in ESTIMATORS.items()
    }
    noise = {name: [noise_of(one, vectors, weights) for one in sizes] for name, sizes in found.items()}
    return {
        "sizes": list(groups),
        "reward": float(sampled.rewards[sampled.scored].mean()) if sampled.scored.any() else None,
        "unscored": int((~sampled.scored).sum()),
        "mean_length": float(lengths.mean()),
        "estimators": {name: {one.size: _noise(one) for one in sizes} for name, sizes in noise.items()},
        "comparisons": {name: _comparisons(sizes) for name, sizes in noise.items()},
        "dividing_by_std": _dividing(noise),
        "scores": _scores(weights, of_sums, inner),
        "arms": _arms(sampled, groups, vectors, weights),
        "weighting": _weighting(sampled, found["n_vs_m"], order, vectors, weights),
    }


def _noise(noise: Noise) -> dict[str, Any]:
    return {
        "signal": interval(noise.signal),
        "variance": interval(noise.variance),
        "within_share": interval(noise.within_share),
        "snr": {name: interval(per(noise)) for name, per in PER.items()},
    }


def _comparisons(sizes: Sequence[Noise]) -> dict[str, Any]:
    """Return the log ratios of signal-to-noise of every two group sizes."""
    return {
        name: _compare(
            {
                f"{first.size}/{second.size}": log_ratio(PER[name](first), PER[name](second))
                for second, first in combinations(sizes, 2)
            }
        )
        for name in COMPARED
    }


def _dividing(noise: Mapping[str, Sequence[Noise]]) -> dict[str, Any]:
    """Return the log ratios of signal-to-noise with and without a division by the group's standard deviation.

    Pairs are left out, because the standard deviation of a right and a wrong completion is always 1/2.
    """
    pairs = zip(noise["grpo"], noise["dr_grpo"], strict=True)
    return _compare(
        {
            str(divided.size): log_ratio(divided.per_prompt, centered.per_prompt)
            for divided, centered in pairs
            if divided.size > 2
        }
    )


def _scores(weights: Weights, of_sums: Float[np.ndarray, "N S S"], inner: Float[np.ndarray, "N S S"]) -> dict[str, Any]:
    """Return the squared length of a prompt's mean vector over that of a single vector.

    For summed log-probabilities its expectation is 0, because p g+ + (1-p) g- = 0. A mean over tokens breaks this. The
    true value cannot be negative, so only a positive estimate can be resolved.
    """
    diagonal = np.arange(inner.shape[1])

    def share(of: Float[np.ndarray, "N S S"]) -> Values:
        own = of[:, diagonal, diagonal]
        others = (of.sum((1, 2)) - own.sum(1)) / (of.shape[1] * (of.shape[1] - 1))
        return over(mean(weights, others), mean(weights, own.mean(1)))

    found = _compare({"summed": share(of_sums), "as_aggregated": share(inner)})
    return {name: {**of, "resolved": of["resolved"] and of["value"] > 0} for name, of in found.items()}


def _arms(
    sampled: Sampled, groups: Mapping[int, Subgroups], vectors: Vectors, weights: Weights
) -> dict[str, Any] | None:
    """Return the arms' statistics; None if the reward does not say what is right, or hardly any group has both arms."""
    if sampled.right is None:
        return None
    right, wrong = sampled.right & sampled.scored, ~sampled.right & sampled.scored
    found = [arms_of(of_size, right, wrong, vectors, weights) for of_size in groups.values()]
    arms = [of_size for of_size in found if of_size]
    if len(arms) < len(found):
        return None
    return {
        "sizes": {of_size.size: _of_arms(of_size) for of_size in arms},
        "rho_total": _compare({str(one.size): one.total.rho for one in arms}),
        "rho_within": _compare({str(one.size): one.within.rho for one in arms}),
        "rho_across": _compare({str(one.size): one.across.rho for one in arms}),
        "log_left_at_1": _compare({str(one.size): _log(one.total.left(1.0)) for one in arms}),
        "log_snr_gain_at_1": _compare({str(one.size): _log(one.gain(1.0)) for one in arms}),
        "log_snr_gain_at_best": _compare({str(one.size): _log(one.gain(one.total.best)) for one in arms}),
    }


def _of_arms(arms: ArmStatistics) -> dict[str, Any]:
    def parts(of: Three) -> dict[str, Any]:
        return {
            "right": interval(of.right),
            "wrong": interval(of.wrong),
            "covariance": interval(of.both),
            "rho": interval(of.rho),
            "best_c": interval(of.best),
            "left_at_best": interval(of.left(of.best)),
            "left_at_1": interval(of.left(1.0)),
        }

    def baseline(of: Baseline) -> dict[str, float]:
        return {"rho": of.value, "low": of.low, "high": of.high, "p": of.p}

    return {
        "valid_share": interval(arms.valid),
        "signal": {"right": interval(arms.signal.right), "wrong": interval(arms.signal.wrong)},
        "total": parts(arms.total),
        "within": parts(arms.within),
        "across": parts(arms.across),
        "split_prompts": arms.split_prompts,
        "regrouped": baseline(arms.regrouped),
        "repaired": baseline(arms.repaired),
    }


def _weighting(
    sampled: Sampled, found: Sequence[Moments], order: Int[np.ndarray, "R N S"], vectors: Vectors, weights: Weights
) -> dict[str, Any] | None:
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
    return {
        "prompts": int(whole.sum()),
        "sizes": {
            one.size: {
                "measured": interval(one.measured),
                "predicted": interval(one.predicted),
                "agreement": interval(one.agreement),
                "cosine": interval(one.cosine),
            }
            for one in sizes
        },
        "log_measured": _compare({str(one.size): _log(one.measured) for one in sizes[1:]}),
        "log_agreement": _compare({str(one.size): _log(one.agreement) for one in sizes[1:]}),
        "cosine_below_1": _compare({str(one.size): 1 - one.cosine for one in sizes[1:]}),
    }


def _compare(table: dict[str, Values]) -> dict[str, dict[str, Any]]:
    return {name: found._asdict() for name, found in comparisons(table).items()}


def _log(values: Values) -> Values:
    return log_ratio(values, np.ones_like(values))
