"""Objectives: arrays in, arrays out. Nothing here knows a model, a tokenizer or a loop."""

from grpo_jax.objectives.advantages import Estimator
from grpo_jax.objectives.aggregation import AGGREGATIONS, Aggregation
from grpo_jax.objectives.kl import KL_ESTIMATORS, k1, k2, k3
from grpo_jax.objectives.making import (
    check_resampling,
    check_updates,
    has_ratio,
    keeps_reference,
    make_objective,
    unread_fields,
)
from grpo_jax.objectives.objective import LossSum, Objective
from grpo_jax.objectives.outcomes import Outcomes
from grpo_jax.objectives.ratios import importance_ratio
from grpo_jax.objectives.recipes import OBJECTIVES, Recipe
from grpo_jax.objectives.terms import Surrogate, Terms
from grpo_jax.objectives.tokens import length_mask, token_logprobs

__all__ = [
    "AGGREGATIONS",
    "KL_ESTIMATORS",
    "OBJECTIVES",
    "Aggregation",
    "Estimator",
    "LossSum",
    "Objective",
    "Outcomes",
    "Recipe",
    "Surrogate",
    "Terms",
    "check_resampling",
    "check_updates",
    "has_ratio",
    "importance_ratio",
    "k1",
    "k2",
    "k3",
    "keeps_reference",
    "length_mask",
    "make_objective",
    "token_logprobs",
    "unread_fields",
]
