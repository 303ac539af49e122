"""Rewards of completions. Nothing here imports JAX."""

from grpo_jax.rewards import chains
from grpo_jax.rewards.extraction import last_boxed
from grpo_jax.rewards.mathematics.pool import WorkerError
from grpo_jax.rewards.per_attempt import PerAttempt
from grpo_jax.rewards.registry import REWARDS, make_reward
from grpo_jax.rewards.service import Service
from grpo_jax.rewards.verdict import UNSCORED, Attempt, Equating, Reward, Verdict, finite_or_unscored, same_text

__all__ = [
    "REWARDS",
    "UNSCORED",
    "Attempt",
    "Equating",
    "PerAttempt",
    "Reward",
    "Service",
    "Verdict",
    "WorkerError",
    "chains",
    "finite_or_unscored",
    "last_boxed",
    "make_reward",
    "same_text",
]
