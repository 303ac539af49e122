"""Advantages of completions against others of the same prompt.

Every estimator takes the `Outcomes` of a step and returns [N, G]. A group whose rewards do not differ, by
`rewards_differ`, gets advantages of exactly 0. So it carries no signal, and training may drop it. All are defined for
any rewards. "The paper" is "It Takes Two", arXiv 2510.00977.
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
    """GRPO: A_i = (r_i - mean r) / (std r + epsilon), DeepSeekMath (arXiv 2402.03300).

    Args:
      ddof: 0 for the population's standard deviation (the paper), 1 for the sample's (verl, TRL). With two
        binary rewards the first gives +-1 and the second +-0.7071, with sixteen they differ by 3 %: a comparison of
        group sizes under ddof 1 hides a change of scale.
      epsilon: added to the standard deviation.
      tolerance: see `rewards_differ`.
    """
    rewards, scored = outcomes.rewards, outcomes.scored
    mean, count = mean_and_count(rewards, scored)
    centered = jnp.where(scored, rewards - mean, 0.0)
    variance = (centered**2).sum(-1, keepdims=True) / jnp.maximum(count - ddof, 1.0)
    # A group without signal divides by 1 instead of 0; its advantages are zeroed below.
    deviation = jnp.sqrt(jnp.where(variance > 0, variance, 1.0))
    return jnp.where(rewards_differ(outcomes, tolerance), centered / (deviation + epsilon), 0.0)


def mean_centered(outcomes: Outcomes, *, tolerance: float = 1e-6) -> Float[Array, "N G"]:
    """Dr. GRPO: A_i = r_i - mean r, arXiv 2503.20783. The weighting of prompts by 1/std is left out."""
    mean, _ = mean_and_count(outcomes.rewards, outcomes.scored)
    return jnp.where(rewards_differ(outcomes, tolerance), outcomes.rewards - mean, 0.0)


def leave_one_out(outcomes: Outcomes, *, tolerance: float = 1e-6) -> Float[Array, "N G"]:
    """RLOO: A_i = r_i - mean of the others = G/(G-1) (r_i - mean r), arXiv 2402.14740."""
    mean, count = mean_and_count(outcomes.rewards, outcomes.scored)
    advantages = (outcomes.rewards - mean) * count / jnp.maximum(count - 1.0, 1.0)
    return jnp.where(rewards_differ(outcomes, tolerance), advantages, 0.0)


def length_weighted(outcomes: Outcomes, *, tolerance: float = 1e-6) -> Float[Array, "N G"]:
    """OPO: A_i = r_i - sum_j |o_j| r_j / sum_j |o_j|, arXiv 2505.23585.

    The baseline of least variance if the squared length of a completion's score grows with its tokens.
    """
    assert outcomes.lengths is not None
    lengths = jnp.where(outcomes.scored, outcomes.lengths, 0).astype(jnp.float32)
    rewards = jnp.where(outcomes.scored, outcomes.rewards, 0.0)
    baseline = (lengths * rewards).sum(-1, keepdims=True) / jnp.maximum(lengths.sum(-1, keepdims=True), 1.0)
    return jnp.where(rewards_differ(outcomes, tolerance), rewards - baseline, 0.0)


def contrastive(outcomes: Outcomes, *, tolerance: float = 1e-6) -> Float[Array, "N G"]:
    """N-vs-M: +sqrt((1-p)/p) for positives and -sqrt(p/(1-p)) for negatives, with p their share in the group.

    The paper's Propositions 3.1 and 3.2. A completion is positive if its reward is above the group's mean and negative
    if it is below, which for rewards in {0, 1} means right and wrong, and for a pair of any rewards the better one and
    the other: then the advantages are +1 and -1, the paper's 2-GRPO. For binary rewards it equals `group_normalized`
    with ddof 0. Of three or more, one may be at the mean: it is neither, and has no advantage.

    Args:
      tolerance: see `rewards_differ`. It is of the spread alone: however far from the mean, the best completion of a
        group whose rewards differ is positive and the worst negative. In between, only what a sum in float32 is rounded
        by is at the mean.
    """
    rewards, scored = outcomes.rewards, outcomes.scored
    mean, count = mean_and_count(rewards, scored)
    above = jnp.where(scored, rewards - mean, 0.0)
    highest = jnp.where(scored, rewards, -jnp.inf).max(-1, keepdims=True)
    lowest = jnp.where(scored, rewards, jnp.inf).min(-1, keepdims=True)
    largest = jnp.where(scored, jnp.abs(rewards), 0.0).max(-1, keepdims=True)
    rounding = 4 * 2.0**-23 * jnp.sqrt(count) * largest  # 2^-23: of float32
    spread = scored & (highest > lowest)
    positive = spread & ((above > rounding) | (rewards == highest))
    negative = spread & ((above < -rounding) | (rewards == lowest))
    n, m = positive.sum(-1, keepdims=True), negative.sum(-1, keepdims=True)
    both = (n > 0) & (m > 0)
    share = jnp.where(both, n / jnp.maximum(n + m, 1), 0.5)
    up = jnp.where(positive, jnp.sqrt((1 - share) / share), 0.0)
    down = jnp.where(negative, jnp.sqrt(share / (1 - share)), 0.0)
    return jnp.where(rewards_differ(outcomes, tolerance) & both, up - down, 0.0)


def rescaled(
    outcomes: Outcomes, *, floor: Annotated[float, Range(0, 0.5, open_low=True)] = 0.05, tolerance: float = 1e-6
) -> Float[Array, "N G"]:
    """`contrastive`, times 1/sqrt(p(1-p)) with p the expected reward of the prompt.

    In expectation pairs weigh a prompt by p(1-p) and large groups by sqrt(p(1-p)) (the paper's Proposition 5.1). With p
    known this factor would give pairs the weighting of large groups; p is estimated, from the prompt's earlier
    completions and never from these, which would bias the gradient.

    Args:
      floor: p is kept this far from 0 and 1, which bounds the factor: by 4.6 at 0.05.
    """
    assert outcomes.expected is not None
    expected = jnp.clip(outcomes.expected, floor, 1 - floor)[:, None]
    return contrastive(outcomes, tolerance=tolerance) / jnp.sqrt(expected * (1 - expected))


def focal(
    outcomes: Outcomes, *, gamma: NonNegative = 1.0, ddof: int = 0, epsilon: float = 0.0, tolerance: float = 1e-6
) -> Float[Array, "N G"]:
    """F-GRPO: (1 - p)^gamma times GRPO's, with p the group's mean reward: easy prompts weigh less, arXiv 2602.06717.

    Args:
      gamma: 0 is GRPO. Rewards outside of [0, 1] give a p that is clipped to it.
    """
    mean, _ = mean_and_count(outcomes.rewards, outcomes.scored)
    weight = (1 - jnp.clip(mean, 0.0, 1.0)) ** gamma
    return weight * group_normalized(outcomes, ddof=ddof, epsilon=epsilon, tolerance=tolerance)
