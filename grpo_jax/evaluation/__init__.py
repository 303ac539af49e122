"""Evaluation: estimates with intervals from samples of held-out problems."""

from grpo_jax.evaluation.estimators import (
    best_of_k_with_replacement,
    bootstrap_interval,
    majority_correct,
    pass_at_k,
)
from grpo_jax.evaluation.evaluate import Evaluation, Judged, evaluate, judge, summarize

__all__ = [
    "Evaluation",
    "Judged",
    "best_of_k_with_replacement",
    "bootstrap_interval",
    "evaluate",
    "judge",
    "majority_correct",
    "pass_at_k",
    "summarize",
]
