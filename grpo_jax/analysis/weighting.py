"""Group sizes as weightings of prompts ("It Takes Two", arXiv 2510.00977, Proposition 5.1).

Let v be a rollout's vector and p the prompt's probability of success. The expected gradient of a prompt is
w_G(p) (g+ - g-), where w_G(p) = E sqrt(X/G (1 - X/G)) for X ~ Bin(G, p). This is p(1-p) for pairs and sqrt(p(1-p)) for
large groups. So the gradient is that of pairs times

    f_G(p) = w_G(p) / (p(1-p)) = sum_{0<k<G} C(G, k) sqrt(k/G (1 - k/G)) p^(k-1) (1-p)^(G-k-1).

This is a polynomial of degree G - 2, so n outcomes give an unbiased estimate of it if n >= G - 2. The prediction takes
f_G from one half of a prompt's rollouts and the gradient of pairs from the other half, which keeps it unbiased. It is
compared with the gradient measured from groups of G.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import jax
import numpy as np
from jaxtyping import Bool, Float, Int

from grpo_jax.analysis.bootstrap import Values, Weights, mean_between, ratio, root
from grpo_jax.analysis.products import Coefficients, Vectors, between, combine
from grpo_jax.analysis.subgroups import Cuts, Moments
from grpo_jax.objectives import Outcomes
from grpo_jax.objectives.advantages import leave_one_out


@dataclass(frozen=True)
class Weighting:
    """The expected gradient of one group size, over resamples."""

    size: int
    measured: Values  # its length over that of pairs
    predicted: Values  # the same ratio, from pairs and f_G
    agreement: Values  # the predicted length over the measured one
    cosine: Values  # with the expected gradient of pairs


def factor(size: int, outcomes: int) -> Float[np.ndarray, " successes"]:
    """Return the unbiased estimate of f_G(p) for each number of successes, from 0 to `outcomes`."""
    ways = [math.comb(size, k) * math.sqrt(k / size * (1 - k / size)) for k in range(1, size)]

    def of(successes: int) -> float:
        # The estimate of p^a (1-p)^b is the share of the outcomes' orders that begin with a successes and b failures.
        rest = outcomes - (size - 2)
        orders = [math.comb(rest, successes - a) if successes >= a else 0 for a in range(size - 1)]
        return sum(way * order for way, order in zip(ways, orders, strict=True)) / math.comb(outcomes, successes)

    return np.array([of(successes) for successes in range(outcomes + 1)])


def predicted(size: int, order: Int[np.ndarray, "R N S"], right: Bool[np.ndarray, "N S"]) -> Coefficients:
    """Return the coefficients of the predicted gradient, averaged over the ways to halve the rollouts."""
    half = order.shape[-1] // 2
    halves = Cuts(order, half)
    cut = halves.cut(right.astype(np.float32))  # [R, N, 2, S/2]
    flat = cut.reshape(-1, half)
    # The mean over all pairs of a half equals its leave-one-out advantages.
    of_pairs = np.asarray(jax.jit(leave_one_out)(Outcomes(rewards=flat, scored=np.ones(flat.shape, bool))), np.float64)
    of_other = factor(size, half)[cut.sum(-1).astype(int)[..., ::-1]]
    return halves.in_sampling_order(of_pairs.reshape(cut.shape) * of_other[..., None]).mean(0) / order.shape[-1]


def weightings(
    moments: Sequence[Moments],
    order: Int[np.ndarray, "R N S"],
    right: Bool[np.ndarray, "N S"],
    vectors: Vectors,
    weights: Weights,
) -> list[Weighting]:
    """Return the measured and the predicted expected gradient of every group size.

    Args:
      moments: of the N-vs-M advantage, by size; the first is that of pairs.
      right: in prompts whose weight is not 0, all rollouts must have a verdict.
    """
    pairs = combine(vectors, moments[0].coefficients)
    of_pairs = mean_between(weights, between(pairs, pairs))
    found = []
    for of_size in moments:
        measured = combine(vectors, of_size.coefficients)
        expected = combine(vectors, predicted(of_size.size, order, right))
        signal, foreseen, crossed = (
            mean_between(weights, between(first, second))
            for first, second in ((measured, measured), (expected, expected), (measured, pairs))
        )
        found.append(
            Weighting(
                size=of_size.size,
                measured=root(ratio(signal, of_pairs)),
                predicted=root(ratio(foreseen, of_pairs)),
                agreement=root(ratio(foreseen, signal)),
                cosine=ratio(crossed, root(signal) * root(of_pairs)),
            )
        )
    return found
