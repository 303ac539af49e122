"""The two arms of a group's gradient, g+ - g-: their covariance, and how far the second arm reduces the noise.

g+ and g- are the means of the vectors of a group's right and wrong completions. Only a group that has both has arms, so
these are statistics of groups that carry signal ("It Takes Two", arXiv 2510.00977, Proposition 4.1). Variances and
covariances are traces. rho = Cov / sqrt(Var g+ Var g-). The variance of g+ - c g- is smallest at c* = Cov / Var g-,
where it is (1 - rho^2) Var g+. The objective uses c = 1.

The means of the arms are not 0. With v the gradient of a summed log-probability, p E[v|right] + (1-p) E[v|wrong] =
E v = 0 for each prompt, so the arms of a prompt point in opposite directions. This gives them a covariance across
prompts and carries the signal. So the effect of c = 1 on the signal-to-noise ratio is reported beside its effect on the
variance.

Given the prompt, completions are independent, and the arms of a group have no covariance. Two baselines show how large
rho is by chance: completions of a prompt grouped at random (within), and g+ paired with the g- of another prompt
(total). The covariance within prompts uses the groups as they were sampled. Everything else is averaged over the ways
to cut, which independent completions allow.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from grpo_jax.analysis.bootstrap import LEVEL, Values, Weights, mean_between, ratio, root
from grpo_jax.analysis.products import Vectors, between, combine
from grpo_jax.analysis.subgroups import Subgroups
from grpo_jax.randomness import HostStream, generator
from grpo_jax.runs.gradients import Baseline

PAIRINGS = 1000


class Three(NamedTuple):
    """A quantity of g+ with itself, of g- with itself, and of g+ with g-."""

    right: np.ndarray
    wrong: np.ndarray
    both: np.ndarray

    @property
    def rho(self) -> Values:
        """The correlation, if these are variances and a covariance."""
        return ratio(self.both, root(self.right) * root(self.wrong))

    @property
    def best(self) -> Values:
        """c*, if these are variances and a covariance."""
        return ratio(self.both, self.wrong)

    def at(self, c: Values | float) -> Values:
        """Return the same quantity of g+ - c g- with itself."""
        return self.right - 2 * c * self.both + c**2 * self.wrong

    def left(self, c: Values | float) -> Values:
        """Return Var(g+ - c g-) / Var g+, or the same ratio of squared lengths."""
        return ratio(self.at(c), self.right)


@dataclass(frozen=True)
class ArmStatistics:
    """Statistics of the arms of groups of one size, over resamples."""

    size: int
    both_share: Values  # the share of groups that have both arms
    signal: Three  # the squared lengths of the means, and their product
    total: Three  # variances and covariance
    within: Three  # their two parts, from the prompts that have two right and two wrong completions
    across: Three
    split_prompts: int  # the number of these prompts
    regrouped: Baseline  # rho within prompts, of groups as they were sampled, against randomly composed groups
    repaired: Baseline  # rho, against the g- of another prompt

    def gain(self, c: Values | float) -> Values:
        """Return the signal-to-noise ratio of g+ - c g- over that of g+."""
        return ratio(self.signal.left(c), self.total.left(c))


@dataclass(frozen=True)
class Sums:
    """Sums per prompt, from which the arms' statistics are computed."""

    counts: Float[np.ndarray, "R N"]  # groups with both arms
    same: Three  # [R, N]: products of the arms of a group, summed over groups
    apart: Three  # [N]: mean products of two different completions of the prompt
    between: Three  # [N, N]: products of the arms' sums over groups, averaged over the cuts

    @property
    def n(self) -> Float[np.ndarray, " N"]:
        return self.counts.mean(0)

    def signal(self, weights: Weights) -> Three:
        """Return the products of means, from different prompts."""
        return Three(*(mean_between(weights, products, self.n) for products in self.between))

    def total(self, weights: Weights, signal: Three) -> Three:
        """Return the variances and the covariance over all groups, given the products of their means."""
        groups = weights @ self.n
        return Three(
            *(ratio(weights @ same.mean(0), groups) - means for same, means in zip(self.same, signal, strict=True))
        )

    def within(self, weights: Weights, cut: slice = slice(None)) -> Three:
        """Return the part of variances and covariance within prompts, from some of the cuts."""
        n = self.counts[cut].mean(0)
        return Three(
            *(
                ratio(weights @ (same[cut].mean(0) - n * apart), weights @ n)
                for same, apart in zip(self.same, self.apart, strict=True)
            )
        )

    def across(self, weights: Weights) -> Three:
        """Return the part of variances and covariance across prompts."""
        return Three(
            *(
                ratio(weights @ (self.n * apart), weights @ self.n) - signal
                for apart, signal in zip(self.apart, self.signal(weights), strict=True)
            )
        )


def arms_of(
    groups: Subgroups,
    right: Bool[np.ndarray, "N S"],
    wrong: Bool[np.ndarray, "N S"],
    vectors: Vectors,
    weights: Weights,
) -> ArmStatistics | None:
    """Return the statistics of the arms of groups of one size; None if fewer than two prompts have a group with both.

    Args:
      right, wrong: a completion that is neither has no verdict, and belongs to no arm.
    """
    each, sums = _sums(groups, right, wrong, vectors)
    if (sums.n > 0).sum() < 2:
        return None
    split = (right.sum(1) >= 2) & (wrong.sum(1) >= 2)
    some = weights * split
    signal = sums.signal(weights)
    total = sums.total(weights, signal)
    # From the groups as they were sampled: in random groups a dependence between completions would average out.
    within = sums.within(some)._replace(both=sums.within(some, slice(0, 1)).both)
    by_cut = np.array([sums.within(some[:1], slice(r, r + 1)).both[0] for r in range(len(sums.counts))])
    return ArmStatistics(
        size=groups.size,
        both_share=weights @ sums.n / (weights.sum(1) * each),
        signal=signal,
        total=total,
        within=within,
        across=sums.across(some),
        split_prompts=int(split.sum()),
        regrouped=_baseline(by_cut[0], by_cut[1:], within),
        repaired=_repaired(sums, total),
    )


def _sums(
    groups: Subgroups, right: Bool[np.ndarray, "N S"], wrong: Bool[np.ndarray, "N S"], vectors: Vectors
) -> tuple[int, Sums]:
    """Return the number of groups per prompt, and their sums."""
    members = [groups.cut(values.astype(np.float64)) for values in (right, wrong)]
    counts = [of_arm.sum(-1, keepdims=True) for of_arm in members]
    both = (counts[0] > 0) & (counts[1] > 0)
    plus, minus = (
        np.where(both, of_arm / np.maximum(count, 1), 0.0) for of_arm, count in zip(members, counts, strict=True)
    )
    pairs = ((plus, plus), (minus, minus), (plus, minus))
    means = [combine(vectors, groups.in_sampling_order(arm).mean(0)) for arm in (plus, minus)]
    return plus.shape[2], Sums(
        counts=both[..., 0].sum(-1).astype(np.float64),
        same=Three(*(groups.product_of_groups(first, second).sum(-1) for first, second in pairs)),
        apart=Three(*(_apart(groups.products, *which) for which in ((right, right), (wrong, wrong), (right, wrong)))),
        between=Three(*(between(means[first], means[second]) for first, second in ((0, 0), (1, 1), (0, 1)))),
    )


def _apart(
    products: Float[np.ndarray, "N S S"], first: Bool[np.ndarray, "N S"], second: Bool[np.ndarray, "N S"]
) -> Float[np.ndarray, " N"]:
    """Return the mean product of two different completions, one of each kind; 0 for prompts without such a pair."""
    pairs = first[:, :, None] & second[:, None, :] & ~np.eye(first.shape[1], dtype=bool)
    return np.where(pairs, products, 0.0).sum((1, 2)) / np.maximum(pairs.sum((1, 2)), 1)


def _repaired(sums: Sums, total: Three) -> Baseline:
    """Compare the covariance of g+ and g- of the same prompt with that of g+ and the g- of another prompt."""
    some = sums.n > 0
    n, crossed = sums.n[some], sums.between.both[np.ix_(some, some)]
    means = crossed / n[:, None] / n[None]
    expected = float(mean_between(np.ones((1, len(n))), crossed, n)[0])
    rng = generator(HostStream.PAIRINGS, 0)
    # The partner is one of the other prompts, drawn in proportion to its number of groups.
    shares = np.where(np.eye(len(n), dtype=bool), 0.0, n)
    edges = np.cumsum(shares / shares.sum(1, keepdims=True), axis=1)
    draws = rng.random((PAIRINGS, len(n)))
    partners = np.stack([np.searchsorted(edge, draws[:, row]) for row, edge in enumerate(edges)], axis=1)
    partners = np.minimum(partners, len(n) - 1)
    paired = (n * means[np.arange(len(n)), partners]).sum(1) / n.sum()
    observed = float((n * means.diagonal()).sum() / n.sum())
    return _baseline(observed - expected, paired - expected, total)


def _baseline(covariance: float, by_chance: Float[np.ndarray, " pairings"], variances: Three) -> Baseline:
    """Return covariances as correlations, by the variances of the sample itself."""
    scale = float((root(variances.right) * root(variances.wrong))[0])
    if not (scale > 0 and np.isfinite(covariance)):
        return Baseline(np.nan, -np.inf, np.inf, 1.0)
    value, others = covariance / scale, by_chance / scale
    centre = others.mean()
    as_far = (np.abs(others - centre) >= abs(value - centre)).sum()
    low, high = np.quantile(others, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Baseline(float(value), float(low), float(high), float((as_far + 1) / (len(others) + 1)))
