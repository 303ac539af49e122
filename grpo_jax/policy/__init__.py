"""The policy: one decoder in Flax NNX, behind pure functions of a dictionary of parameters."""

from grpo_jax.policy.attention import Attend, causal
from grpo_jax.policy.int8 import is_quantised
from grpo_jax.policy.lora import has_adapters, trained_of, with_trained
from grpo_jax.policy.policy import MATRICES, Policy
from grpo_jax.policy.storage import load_params, save_params

__all__ = [
    "MATRICES",
    "Attend",
    "Policy",
    "causal",
    "has_adapters",
    "is_quantised",
    "load_params",
    "save_params",
    "trained_of",
    "with_trained",
]
