"""Objectives: arrays in, arrays out. Nothing here knows a model, a tokenizer or a loop."""

from grpo_jax.objectives.advantages import contrastive_advantages, group_normalized, leave_one_out, mean_centered
from grpo_jax.objectives.aggregation import AGGREGATIONS, Aggregation
from grpo_jax.objectives.contrastive import clipped_loss, n_vs_m_loss, two_grpo_loss
from grpo_jax.objectives.kl import KL_ESTIMATORS, k1, k2, k3
from grpo_jax.objectives.logprobs import token_logprobs
from grpo_jax.objectives.masks import completion_mask
from grpo_jax.objectives.objective import OBJECTIVES, LossSum, Objective, make_objective
from grpo_jax.objectives.surrogate import clipped_surrogate, importance_ratio

__all__ = [
    "AGGREGATIONS",
    "KL_ESTIMATORS",
    "OBJECTIVES",
    "Aggregation",
    "LossSum",
    "Objective",
    "clipped_loss",
    "clipped_surrogate",
    "completion_mask",
    "contrastive_advantages",
    "group_normalized",
    "importance_ratio",
    "k1",
    "k2",
    "k3",
    "leave_one_out",
    "make_objective",
    "mean_centered",
    "n_vs_m_loss",
    "token_logprobs",
    "two_grpo_loss",
]
