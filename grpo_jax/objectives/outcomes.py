"""The outcomes of a step's completions, from which advantages are estimated."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True)
class Outcomes:
    """The outcomes of all groups of a step.

    `scored` is False where the verifier gave no verdict, for example after a time-out. "No verdict" is not a reward of
    0: such a completion stays out of all statistics and gets no advantage.
    """

    rewards: Float[Any, "N G"]
    scored: Bool[Any, "N G"]
    lengths: Int[Any, "N G"] | None = None  # in tokens, the stop token included
    # Estimates for each prompt, from its earlier completions:
    expected: Float[Any, " N"] | None = None  # reward
    evidence: Float[Any, " N"] | None = None  # how many completions that estimate counts as
    success: Float[Any, " N"] | None = None  # the chance that a completion is right, whatever it is rewarded with


def mean_and_count(values: Float[Array, "N G"], scored: Bool[Array, "N G"]) -> tuple[Array, Array]:
    """Return the mean of each group's scored values, and their number (at least 1), both [N, 1]."""
    count = jnp.maximum(scored.sum(-1, keepdims=True), 1).astype(jnp.float32)
    return jnp.where(scored, values, 0.0).sum(-1, keepdims=True) / count, count


def batch_mean(values: Float[Array, "N G"], scored: Bool[Array, "N G"]) -> Float[Array, ""]:
    """Return the mean of all scored values of the step."""
    return jnp.where(scored, values, 0.0).sum() / jnp.maximum(scored.sum(), 1)


def rewards_differ(outcomes: Outcomes, tolerance: float) -> Bool[Array, "N G"]:
    """Return a mask of the scored completions in groups whose scored rewards range over more than `tolerance`.

    Most estimators give all other completions an advantage of 0. The range decides, not the standard deviation: the
    standard deviation of equal floats can come out as 1e-9, and dividing by it would explode.
    """
    rewards, scored = outcomes.rewards, outcomes.scored
    highest = jnp.where(scored, rewards, -jnp.inf).max(-1, keepdims=True)
    lowest = jnp.where(scored, rewards, jnp.inf).min(-1, keepdims=True)
    # If none is scored, -inf - inf is -inf, which is not above any tolerance.
    return scored & (highest - lowest > tolerance)
