"""Evaluation: estimates with intervals from samples of held-out problems."""

from grpo_jax.evaluation.estimators import (
    best_of_k_with_replacement,
    bootstrap_interval,
    majority_correct,
    pass_at_k,
)
from grpo_jax.evaluation.evaluate import (
    Evaluation,
    evaluate,
    full_batches,
    summarize,
)
from grpo_jax.evaluation.judging import (
    judge,
    rewards_of,
    right_of,
    warm,
)

__all__ = [
    "Evaluation",
    "best_of_k_with_replacement",
    "bootstrap_interval",
    "evaluate",
    "full_batches",
    "judge",
    "majority_correct",
    "pass_at_k",
    "rewards_of",
    "right_of",
    "summarize",
    "warm",
]
