"""The same rollouts in groups of 2, 4, 8, 16: variance and signal of the gradient by group size, at equal budget.

Let h be the gradient of a group of G: the mean over its rollouts of advantage times vector. As in training, each group
has a prompt of its own. b rollouts make b/G groups. Their mean has the signal |E h|^2 and the variance G Var(h) / b.
Var is the trace of the covariance. It has two parts: the variance of groups of the same prompt (within), and that of
the prompts' means (across). The signal-to-noise ratio per rollout is |E h|^2 / (G Var(h)), and b rollouts have b times
that. Its inverse is the number of rollouts that carry as much signal as noise.

The S rollouts of every prompt are cut into groups in R ways, and results are averaged over these. The first way leaves
them in their order. With

    s = E |h|^2,    m = mean of h h' over two groups of one prompt,    u = mean of h h' over two prompts,

Var(h) = s - u. Of these, s - m lies within prompts, and m - u between them. All estimates are unbiased.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import jax
import numpy as np
from jaxtyping import Float, Int

from grpo_jax.analysis.bootstrap import Values, Weights, mean, mean_between, ratio
from grpo_jax.analysis.products import Coefficients, Vectors, between, combine
from grpo_jax.analysis.rollouts import Sampled
from grpo_jax.objectives import Estimator, Outcomes
from grpo_jax.randomness import HostStream, generator
from grpo_jax.runs.gradients import Unit
from grpo_jax.runs.groups import carries_signal

SIZES = (2, 4, 8, 16)

Cut: TypeAlias = Float[np.ndarray, "R N groups G"]


def group_sizes(samples: int) -> list[int]:
    """Return the group sizes for which this number of rollouts makes at least two groups."""
    return [size for size in SIZES if 2 * size <= samples]


def orders(prompts: int, samples: int, number: int, seed: int) -> Int[np.ndarray, "R N S"]:
    """Return ways to order each prompt's rollouts before they are cut: as they are, then at random."""
    natural = np.broadcast_to(np.arange(samples), (number, prompts, samples)).copy()
    natural[1:] = generator(HostStream.GROUPINGS, seed).permuted(natural[1:], axis=-1)
    return natural


@dataclass(frozen=True)
class Cuts:
    """R ways to cut each prompt's rollouts into groups of one size."""

    order: Int[np.ndarray, "R N S"]
    size: int

    def cut(self, values: np.ndarray) -> np.ndarray:
        """Return values [N, S], in the order of sampling, cut into groups [R, N, groups, G]."""
        laid_out = np.take_along_axis(np.broadcast_to(values, self.order.shape), self.order, axis=-1)
        return laid_out.reshape(*self.order.shape[:2], -1, self.size)

    def in_sampling_order(self, cut: Cut) -> Float[np.ndarray, "R N S"]:
        """Return values of groups in the order of sampling again."""
        out = np.empty(self.order.shape)
        np.put_along_axis(out, self.order, cut.reshape(self.order.shape), axis=-1)
        return out


@dataclass(frozen=True)
class Subgroups(Cuts):
    """All rollouts, cut into groups of one size."""

    products: Float[np.ndarray, "N S S"]  # of rollouts of the same prompt

    @cached_property
    def _blocks(self) -> Float[np.ndarray, "R N groups G G"]:
        index = self.order.reshape(*self.order.shape[:2], -1, self.size)
        prompts = np.arange(len(self.products))[None, :, None, None, None]
        return self.products[prompts, index[..., :, None], index[..., None, :]]

    def product_of_groups(self, first: Cut, second: Cut) -> Float[np.ndarray, "R N groups"]:
        """Return the product of two combinations of each group."""
        return np.einsum("rqng,rqngh,rqnh->rqn", first, self._blocks, second, optimize=True)

    def product_of_prompts(self, first: Cut, second: Cut) -> Float[np.ndarray, "R N"]:
        """Return the product of two combinations, each summed over all groups of a prompt."""
        one, other = (np.moveaxis(self.in_sampling_order(cut), 0, 1) for cut in (first, second))  # [N, R, S]
        return ((one @ self.products) * other).sum(-1).T


@dataclass(frozen=True)
class Moments:
    """The moments of one estimator's gradient at one group size, per prompt."""

    size: int
    coefficients: Coefficients  # of the mean gradient of a prompt's groups, averaged over the cuts
    squared: Float[np.ndarray, " N"]  # s: the squared length of a group's gradient
    apart: Float[np.ndarray, " N"]  # m: the product of two groups' gradients
    tokens: Float[np.ndarray, " N"]  # of a group
    learned: Float[np.ndarray, " N"]  # of a group; 0 for a group without signal


def advantages(estimator: Estimator, groups: Subgroups, sampled: Sampled) -> Cut:
    """Return the advantages of every group, each on its own."""
    cut = [groups.cut(values) for values in (sampled.rewards, sampled.scored, sampled.rollouts.completion_lengths)]
    rewards, scored, lengths = (values.reshape(-1, groups.size) for values in cut)
    found = jax.jit(estimator)(Outcomes(rewards=rewards, scored=scored, lengths=lengths))
    return np.asarray(found, np.float64).reshape(cut[0].shape)


def moments(estimator: Estimator, groups: Subgroups, sampled: Sampled) -> Moments:
    """Return the moments of an estimator's group gradients."""
    found = advantages(estimator, groups, sampled) / groups.size
    count = found.shape[2]
    same = groups.product_of_groups(found, found).sum(-1)
    lengths = groups.cut(sampled.rollouts.completion_lengths).sum(-1)
    signal = carries_signal(found)
    return Moments(
        size=groups.size,
        coefficients=groups.in_sampling_order(found).mean(0) / count,
        squared=same.mean(0) / count,
        apart=(groups.product_of_prompts(found, found) - same).mean(0) / (count * (count - 1)),
        tokens=lengths.mean((0, 2)),
        learned=np.where(signal, lengths, 0).mean((0, 2)),
    )


@dataclass(frozen=True)
class Noise:
    """Signal and noise of one estimator at one group size, over resamples."""

    size: int
    signal: Values  # |E h|^2
    within: Values  # the two parts of the variance of h
    across: Values
    tokens: Values  # of a group
    learned: Values

    @property
    def variance(self) -> Values:
        """The variance per rollout; that of b rollouts is this divided by b."""
        return self.size * (self.within + self.across)

    @property
    def within_share(self) -> Values:
        """The share of the variance that is within prompts."""
        return ratio(self.within, self.within + self.across)

    @property
    def per_prompt(self) -> Values:
        """The signal-to-noise ratio of one group."""
        return ratio(self.signal, self.within + self.across)

    @property
    def per_rollout(self) -> Values:
        return self.per_prompt / self.size

    @property
    def per_token(self) -> Values:
        """The signal-to-noise ratio of one sampled token."""
        return ratio(self.per_prompt, self.tokens)

    @property
    def per_learned_token(self) -> Values:
        """The signal-to-noise ratio of one token of an update, which leaves out groups without signal."""
        return ratio(self.per_prompt, self.learned)


PER: dict[Unit, Callable[[Noise], Values]] = {
    Unit.ROLLOUT: lambda noise: noise.per_rollout,
    Unit.TOKEN: lambda noise: noise.per_token,
    Unit.LEARNED_TOKEN: lambda noise: noise.per_learned_token,
    Unit.PROMPT: lambda noise: noise.per_prompt,
}


def noise_of(found: Moments, vectors: Vectors, weights: Weights) -> Noise:
    """Return signal and noise over resamples of the prompts."""
    means = combine(vectors, found.coefficients)
    signal = mean_between(weights, between(means, means))
    apart = mean(weights, found.apart)
    return Noise(
        size=found.size,
        signal=signal,
        within=mean(weights, found.squared) - apart,
        across=apart - signal,
        tokens=mean(weights, found.tokens),
        learned=mean(weights, found.learned),
    )
