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
    summarize,
)
from grpo_jax.evaluation.judging import (
    judge_rollouts,
    judged_by,
    rewards_of,
    right_of,
    says_whether_right,
    successes_of,
    try_reward,
    unscored_of,
    warm,
)
from grpo_jax.evaluation.sampled import Samples, begin_sampling, judge_as_sampled, sample_and_judge

__all__ = [
    "Evaluation",
    "Samples",
    "begin_sampling",
    "best_of_k_with_replacement",
    "bootstrap_interval",
    "evaluate",
    "judge_as_sampled",
    "judge_rollouts",
    "judged_by",
    "majority_correct",
    "pass_at_k",
    "rewards_of",
    "right_of",
    "sample_and_judge",
    "says_whether_right",
    "successes_of",
    "summarize",
    "try_reward",
    "unscored_of",
    "warm",
]
