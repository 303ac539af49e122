"""Advantages whose baseline or scale is of the whole step, or that have none.

In these a group of equal rewards may still have something to say. What has nothing to say is exactly 0.
"""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from grpo_jax.config import NonNegative
from grpo_jax.objectives.outcomes import Outcomes, batch_mean, mean_and_count, rewards_differ


def _deviation(
    values: Float[Array, "N G"], scored: Bool[Array, "N G"], epsilon: float, tolerance: float
) -> Float[Array, ""]:
    """The standard deviation of all scored values; infinite where they do not spread, so that nothing is left."""
    spread = jnp.where(scored, values, -jnp.inf).max() - jnp.where(scored, values, jnp.inf).min()
    variance = batch_mean((values - batch_mean(values, scored)) ** 2, scored)
    return jnp.where(spread > tolerance, jnp.sqrt(jnp.where(variance > 0, variance, 1.0)) + epsilon, jnp.inf)


def batch_normalized(outcomes: Outcomes, *, epsilon: float = 0.0, tolerance: float = 1e-6) -> Float[Array, "N G"]:
    """REINFORCE++: A_i = (r_i - mean) / std, both of the whole step, arXiv 2501.03262."""
    rewards, scored = outcomes.rewards, outcomes.scored
    advantages = (rewards - batch_mean(rewards, scored)) / _deviation(rewards, scored, epsilon, tolerance)
    return jnp.where(scored, advantages, 0.0)


def centered_batch_normalized(
    outcomes: Outcomes, *, epsilon: float = 0.0, tolerance: float = 1e-6
) -> Float[Array, "N G"]:
    """REINFORCE++-baseline: the group's mean is subtracted, then the step's standard deviation of that divides."""
    mean, _ = mean_and_count(outcomes.rewards, outcomes.scored)
    centered = jnp.where(outcomes.scored, outcomes.rewards - mean, 0.0)
    advantages = centered / _deviation(centered, outcomes.scored, epsilon, tolerance)
    return jnp.where(rewards_differ(outcomes, tolerance), advantages, 0.0)


def batch_scaled(outcomes: Outcomes, *, epsilon: float = 0.0, tolerance: float = 1e-6) -> Float[Array, "N G"]:
    """Lite-PPO: A_i = (r_i - mean of the group) / std of the step's rewards, arXiv 2508.08221."""
    mean, _ = mean_and_count(outcomes.rewards, outcomes.scored)
    scale = _deviation(outcomes.rewards, outcomes.scored, epsilon, tolerance)
    return jnp.where(rewards_differ(outcomes, tolerance), (outcomes.rewards - mean) / scale, 0.0)


def reinforcement(
    outcomes: Outcomes, *, positive_weight: NonNegative = 1.0, negative_weight: NonNegative = 1.0
) -> Float[Array, "N G"]:
    """PSR, NSR, W-REINFORCE: A_i = positive_weight r_i - negative_weight (1 - r_i), arXiv 2506.01347.

    There is no baseline: a right completion is worth the one weight and a wrong one minus the other, whatever the rest
    of its group came to. Rewards between 0 and 1 count as so much of each.

    Args:
      positive_weight: 1 with negative_weight 0 is PSR, 0 with 1 is NSR, 0.1 with 1 is W-REINFORCE.
    """
    advantages = positive_weight * outcomes.rewards - negative_weight * (1 - outcomes.rewards)
    return jnp.where(outcomes.scored, advantages, 0.0)
