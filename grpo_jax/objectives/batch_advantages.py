"""Advantages whose baseline or scale comes from the whole step, or that have no baseline.

With these a group of equal rewards may still carry signal. Advantages without signal are exactly 0.
"""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from grpo_jax.config import NonNegative
from grpo_jax.objectives.outcomes import Outcomes, batch_mean, mean_and_count, rewards_differ


def _deviation(
    values: Float[Array, "N G"], scored: Bool[Array, "N G"], epsilon: float, tolerance: float
) -> Float[Array, ""]:
    """Return the standard deviation of all scored values; infinite if they do not spread, so that quotients are 0."""
    spread = jnp.where(scored, values, -jnp.inf).max() - jnp.where(scored, values, jnp.inf).min()
    variance = batch_mean((values - batch_mean(values, scored)) ** 2, scored)
    return jnp.where(spread > tolerance, jnp.sqrt(jnp.where(variance > 0, variance, 1.0)) + epsilon, jnp.inf)


def batch_normalized(outcomes: Outcomes, *, epsilon: float = 0.0, tolerance: float = 1e-6) -> Float[Array, "N G"]:
    """Return REINFORCE++'s advantages: A_i = (r_i - mean) / std, both of the whole step, arXiv 2501.03262."""
    rewards, scored = outcomes.rewards, outcomes.scored
    advantages = (rewards - batch_mean(rewards, scored)) / _deviation(rewards, scored, epsilon, tolerance)
    return jnp.where(scored, advantages, 0.0)


def centered_batch_normalized(
    outcomes: Outcomes, *, epsilon: float = 0.0, tolerance: float = 1e-6
) -> Float[Array, "N G"]:
    """Return REINFORCE++-baseline's advantages: r_i - mean of the group, over the step's std of these differences."""
    mean, _ = mean_and_count(outcomes.rewards, outcomes.scored)
    centered = jnp.where(outcomes.scored, outcomes.rewards - mean, 0.0)
    advantages = centered / _deviation(centered, outcomes.scored, epsilon, tolerance)
    return jnp.where(rewards_differ(outcomes, tolerance), advantages, 0.0)


def batch_scaled(outcomes: Outcomes, *, epsilon: float = 0.0, tolerance: float = 1e-6) -> Float[Array, "N G"]:
    """Return Lite-PPO's advantages: A_i = (r_i - mean of the group) / std of the step's rewards, arXiv 2508.08221."""
    mean, _ = mean_and_count(outcomes.rewards, outcomes.scored)
    scale = _deviation(outcomes.rewards, outcomes.scored, epsilon, tolerance)
    return jnp.where(rewards_differ(outcomes, tolerance), (outcomes.rewards - mean) / scale, 0.0)


def reinforcement(
    outcomes: Outcomes, *, positive_weight: NonNegative = 1.0, negative_weight: NonNegative = 1.0
) -> Float[Array, "N G"]:
    """Return the advantages of PSR, NSR and W-REINFORCE: A_i = positive_weight r_i - negative_weight (1 - r_i).

    See arXiv 2506.01347. There is no baseline: a right completion gets positive_weight and a wrong one
    -negative_weight, whatever the rest of its group did. A reward between 0 and 1 counts as partly right and partly
    wrong.

    Args:
      positive_weight: 1 with negative_weight 0 is PSR, 0 with 1 is NSR, 0.1 with 1 is W-REINFORCE.
    """
    advantages = positive_weight * outcomes.rewards - negative_weight * (1 - outcomes.rewards)
    return jnp.where(outcomes.scored, advantages, 0.0)
