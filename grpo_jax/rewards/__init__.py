"""Rewards: verifiers of completions."""

from grpo_jax.rewards import last_value
from grpo_jax.rewards.verdict import UNSCORED, Verdict

__all__ = ["UNSCORED", "Verdict", "last_value"]
