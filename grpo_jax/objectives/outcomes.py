"""What a step's completions came to, as advantage estimators see it."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True)
class Outcomes:
    """All groups of a step.

    `scored` is False where the verifier could give no verdict (a time-out, say). "No verdict" is not a reward of 0:
    such a completion stays out of all statistics and gets no advantage.
    """

    rewards: Float[Any, "N G"]
    scored: Bool[Any, "N G"]
    lengths: Int[Any, "N G"] | None = None  # in tokens, the stop token included
    expected: Float[Any, " N"] | None = None  # of each prompt's reward, from what its earlier completions came to


def mean_and_count(values: Float[Array, "N G"], scored: Bool[Array, "N G"]) -> tuple[Array, Array]:
    """The mean of the scored values of each group, and their number (at least 1), both [N, 1]."""
    count = jnp.maximum(scored.sum(-1, keepdims=True), 1).astype(jnp.float32)
    return jnp.where(scored, values, 0.0).sum(-1, keepdims=True) / count, count


def batch_mean(values: Float[Array, "N G"], scored: Bool[Array, "N G"]) -> Float[Array, ""]:
    """The mean of all scored values of the step."""
    return jnp.where(scored, values, 0.0).sum() / jnp.maximum(scored.sum(), 1)


def rewards_differ(outcomes: Outcomes, tolerance: float) -> Bool[Array, "N G"]:
    """Return the scored completions of groups whose scored rewards spread wider than `tolerance`.

    Most estimators give all others an advantage of 0. The decision is by spread and not by standard deviation, which
    for equal floats can come out as 1e-9 and explode a ratio.
    """
    rewards, scored = outcomes.rewards, outcomes.scored
    highest = jnp.where(scored, rewards, -jnp.inf).max(-1, keepdims=True)
    lowest = jnp.where(scored, rewards, jnp.inf).min(-1, keepdims=True)  # without any scored: -inf > inf is False
    return scored & (highest - lowest > tolerance)
