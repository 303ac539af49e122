"""Advantages from the rewards of groups.

Every estimator takes rewards [N, G] and `scored` [N, G], which is False where the verifier could give no verdict (a
time-out, say). "No verdict" is not a reward of 0: such a completion stays out of its group's statistics and gets no
advantage. A group whose scored rewards spread no wider than `tolerance`, or with fewer than two of them, carries no
signal: all its advantages are exactly 0, and training may drop it. The decision is by spread and not by the standard
deviation, which for equal floats can come out as 1e-9 and explode a ratio.
"""

from collections.abc import Callable
from typing import TypeAlias

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

Rewards: TypeAlias = Float[Array, "N G"]
Scored: TypeAlias = Bool[Array, "N G"]
Estimator: TypeAlias = Callable[[Rewards, Scored], Float[Array, "N G"]]


def _with_signal(
    advantages: Float[Array, "N G"], rewards: Rewards, scored: Scored, tolerance: float
) -> Float[Array, "N G"]:
    highest = jnp.where(scored, rewards, -jnp.inf).max(-1, keepdims=True)
    lowest = jnp.where(scored, rewards, jnp.inf).min(-1, keepdims=True)  # without any scored: -inf > inf is False
    return jnp.where(scored & (highest - lowest > tolerance), advantages, 0.0)


def _mean(rewards: Rewards, scored: Scored) -> tuple[Float[Array, "N 1"], Float[Array, "N 1"]]:
    """The mean of the scored rewards of each group, and their number (at least 1)."""
    count = jnp.maximum(scored.sum(-1, keepdims=True), 1).astype(jnp.float32)
    return jnp.where(scored, rewards, 0.0).sum(-1, keepdims=True) / count, count


def group_normalized(
    rewards: Rewards, scored: Scored, *, ddof: int = 0, epsilon: float = 0.0, tolerance: float = 1e-6
) -> Float[Array, "N G"]:
    """GRPO: A_i = (r_i - mean r) / (std r + epsilon), DeepSeekMath (arXiv 2402.03300).

    Args:
      ddof: 0 for the population's standard deviation (the 2-GRPO paper), 1 for the sample's (verl, TRL). With two
        binary rewards the first gives +-1 and the second +-0.7071, with sixteen they differ by 3 %: a comparison of
        group sizes under ddof 1 hides a change of scale.
      epsilon: added to the standard deviation.
    """
    mean, count = _mean(rewards, scored)
    centered = jnp.where(scored, rewards - mean, 0.0)
    variance = (centered**2).sum(-1, keepdims=True) / jnp.maximum(count - ddof, 1.0)
    # A group without signal divides by 1 instead of 0; its advantages are zeroed below.
    deviation = jnp.sqrt(jnp.where(variance > 0, variance, 1.0))
    return _with_signal(centered / (deviation + epsilon), rewards, scored, tolerance)


def mean_centered(rewards: Rewards, scored: Scored, *, tolerance: float = 1e-6) -> Float[Array, "N G"]:
    """Dr. GRPO: A_i = r_i - mean r, arXiv 2503.20783. The weighting of prompts by 1/std is left out."""
    mean, _ = _mean(rewards, scored)
    return _with_signal(rewards - mean, rewards, scored, tolerance)


def leave_one_out(rewards: Rewards, scored: Scored, *, tolerance: float = 1e-6) -> Float[Array, "N G"]:
    """RLOO: A_i = r_i - mean of the others = G/(G-1) (r_i - mean r), arXiv 2402.14740."""
    mean, count = _mean(rewards, scored)
    return _with_signal((rewards - mean) * count / jnp.maximum(count - 1.0, 1.0), rewards, scored, tolerance)


def contrastive_advantages(rewards: Rewards, scored: Scored, *, tolerance: float = 1e-6) -> Float[Array, "N G"]:
    """N-vs-M: +sqrt((1-p)/p) for positives and -sqrt(p/(1-p)) for negatives, with p their share in the group.

    "It Takes Two" (arXiv 2510.00977), Propositions 3.1 and 3.2. A completion is positive if its reward is above the
    group's mean, which for rewards in {0, 1} means right, and for a pair of any rewards the better one: then the
    advantages are +1 and -1, the 2-GRPO of the paper. For binary rewards it equals `group_normalized` with ddof 0.
    """
    mean, count = _mean(rewards, scored)
    positive = scored & (rewards > mean)
    share = positive.sum(-1, keepdims=True) / count
    share = jnp.where((share > 0) & (share < 1), share, 0.5)  # groups of one kind are zeroed below
    advantages = jnp.where(positive, jnp.sqrt((1 - share) / share), -jnp.sqrt(share / (1 - share)))
    return _with_signal(advantages, rewards, scored, tolerance)
