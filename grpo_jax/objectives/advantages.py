"""Advantages of completions relative to others of the same prompt.

Every estimator takes the `Outcomes` of a step and returns advantages [N, G]. In this module, unlike in
`batch_advantages` and `historical_advantages`, the advantages of a group whose rewards do not differ (`rewards_differ`)
are exactly 0. Such a group carries no signal, and training may drop it. All estimators but `focal` are defined for any
rewards, and all but `rescaled` without the prompts' chance to be right (`Outcomes.success`).
"The paper" is "It Takes Two", arXiv 2510.00977.
"""

from collections.abc import Callable
from typing import Annotated, TypeAlias

import jax.numpy as jnp
from jaxtyping import Array, Float

from grpo_jax.config import NonNegative, Range
from grpo_jax.objectives.outcomes import Outcomes, mean_and_count, rewards_differ

Estimator: TypeAlias = Callable[[Outcomes], Float[Array, "N G"]]


def group_normalized(
    outcomes: Outcomes, *, ddof: int = 0, epsilon: float = 0.0, tolerance: float = 1e-6
) -> Float[Array, "N G"]:
    """Return GRPO's advantages: A_i = (r_i - mean r) / (std r + epsilon), DeepSeekMath (arXiv 2402.03300).

    Args:
      ddof: 0 for the population's standard deviation (the paper), 1 for the sample's (verl, TRL). In a pair of
        different binary rewards 0 gives +-1 and 1 gives +-0.7071; in a group of sixteen they differ by 3 %. So a
        comparison of group sizes under ddof 1 also changes the scale of the advantages.
      epsilon: added to the standard deviation.
      tolerance: see `rewards_differ`.
    """
    rewards, scored = outcomes.rewards, outcomes.scored
    mean, count = mean_and_count(rewards, scored)
    centered = jnp.where(scored, rewards - mean, 0.0)
    variance = (centered**2).sum(-1, keepdims=True) / jnp.maximum(count - ddof, 1.0)
    # A group without signal is divided by 1 instead of 0; its advantages become 0 below.
    deviation = jnp.sqrt(jnp.where(variance > 0, variance, 1.0))
    return jnp.where(rewards_differ(outcomes, tolerance), centered / (deviation + epsilon), 0.0)


def mean_centered(outcomes: Outcomes, *, tolerance: float = 1e-6) -> Float[Array, "N G"]:
    """Return Dr. GRPO's advantages: A_i = r_i - mean r, arXiv 2503.20783. Prompts are not weighted by 1/std."""
    mean, _ = mean_and_count(outcomes.rewards, outcomes.scored)
    return jnp.where(rewards_differ(outcomes, tolerance), outcomes.rewards - mean, 0.0)


def leave_one_out(outcomes: Outcomes, *, tolerance: float = 1e-6) -> Float[Array, "N G"]:
    """Return RLOO's advantages: A_i = r_i - mean of the others = G/(G-1) (r_i - mean r), arXiv 2402.14740."""
    mean, count = mean_and_count(outcomes.rewards, outcomes.scored)
    advantages = (outcomes.rewards - mean) * count / jnp.maximum(count - 1.0, 1.0)
    return jnp.where(rewards_differ(outcomes, tolerance), advantages, 0.0)


def length_weighted(outcomes: Outcomes, *, tolerance: float = 1e-6) -> Float[Array, "N G"]:
    """Return OPO's advantages: A_i = r_i - sum_j |o_j| r_j / sum_j |o_j|, arXiv 2505.23585.

    This baseline has the least variance if the squared norm of grad log pi grows with a completion's length.
    """
    assert outcomes.lengths is not None
    lengths = jnp.where(outcomes.scored, outcomes.lengths, 0).astype(jnp.float32)
    rewards = jnp.where(outcomes.scored, outcomes.rewards, 0.0)
    baseline = (lengths * rewards).sum(-1, keepdims=True) / jnp.maximum(lengths.sum(-1, keepdims=True), 1.0)
    return jnp.where(rewards_differ(outcomes, tolerance), rewards - baseline, 0.0)


def contrastive(outcomes: Outcomes, *, tolerance: float = 1e-6) -> Float[Array, "N G"]:
    """Return the N-vs-M advantages: sqrt((1-p)/p) for positives, -sqrt(p/(1-p)) for negatives.

    p is the share of positives in the group (the paper's Propositions 3.1 and 3.2). A completion is positive if its
    reward is above the group's mean and negative if it is below. For rewards in {0, 1} that means right and wrong. In a
    pair with different rewards the better completion gets +1 and the other -1: the paper's 2-GRPO. For binary rewards
    this equals `group_normalized` with ddof 0. In groups of three or more a reward may equal the mean; that completion
    is neither and gets no advantage.

    Args:
      tolerance: see `rewards_differ`. It applies to the spread alone: if a group's rewards differ, its best completion
        is positive and its worst is negative, however close they are to the mean. The others are at the mean if they
        differ from it by no more than the rounding of a sum in float32.
    """
    rewards, scored = outcomes.rewards, outcomes.scored
    mean, count = mean_and_count(rewards, scored)
    centered = jnp.where(scored, rewards - mean, 0.0)
    highest = jnp.where(scored, rewards, -jnp.inf).max(-1, keepdims=True)
    lowest = jnp.where(scored, rewards, jnp.inf).min(-1, keepdims=True)
    largest = jnp.where(scored, jnp.abs(rewards), 0.0).max(-1, keepdims=True)
    # The mean of `count` float32 numbers is rounded by about 2^-23 sqrt(count) times the largest; 4 is a safe factor.
    rounding = 4 * 2.0**-23 * jnp.sqrt(count) * largest
    varied = scored & (highest > lowest)
    positive = varied & ((centered > rounding) | (rewards == highest))
    negative = varied & ((centered < -rounding) | (rewards == lowest))
    n, m = positive.sum(-1, keepdims=True), negative.sum(-1, keepdims=True)
    both = (n > 0) & (m > 0)
    share = jnp.where(both, n / jnp.maximum(n + m, 1), 0.5)
    up = jnp.where(positive, jnp.sqrt((1 - share) / share), 0.0)
    down = jnp.where(negative, jnp.sqrt(share / (1 - share)), 0.0)
    return jnp.where(rewards_differ(outcomes, tolerance) & both, up - down, 0.0)


def rescaled(
    outcomes: Outcomes, *, floor: Annotated[float, Range(1e-6, 0.5)] = 0.05, tolerance: float = 1e-6
) -> Float[Array, "N G"]:
    """Return `contrastive` times 1/sqrt(p(1-p)), where p is the chance that a completion of the prompt is right.

    In expectation pairs weight a prompt by p(1-p), and large groups by sqrt(p(1-p)) (the paper's Proposition 5.1). If p
    were known, this factor would give pairs the weighting of large groups. It is estimated from the prompt's earlier
    completions; the present ones would bias the gradient.

    Args:
      floor: p is clipped to [floor, 1 - floor], which bounds the factor: by 4.6 at 0.05.
    """
    assert outcomes.success is not None
    success = jnp.clip(outcomes.success, floor, 1 - floor)[:, None]
    return contrastive(outcomes, tolerance=tolerance) / jnp.sqrt(success * (1 - success))


def focal(
    outcomes: Outcomes, *, gamma: NonNegative = 1.0, ddof: int = 0, epsilon: float = 0.0, tolerance: float = 1e-6
) -> Float[Array, "N G"]:
    """Return F-GRPO's advantages: GRPO's times (1 - p)^gamma, with p the group's mean reward, arXiv 2602.06717.

    p is clipped to [0, 1].

    Args:
      gamma: 0 is GRPO; a larger gamma gives easy prompts less weight.
    """
    mean, _ = mean_and_count(outcomes.rewards, outcomes.scored)
    weight = (1 - jnp.clip(mean, 0.0, 1.0)) ** gamma
    return weight * group_normalized(outcomes, ddof=ddof, epsilon=epsilon, tolerance=tolerance)
