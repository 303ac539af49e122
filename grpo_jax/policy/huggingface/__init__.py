"""Checkpoints in Hugging Face's format: a config.json, and tensors in safetensors files."""

from grpo_jax.policy.huggingface.adapters import save_adapters
from grpo_jax.policy.huggingface.architecture import describe, different_fields, read_architecture, read_positions
from grpo_jax.policy.huggingface.config_file import ConfigFile, read_config_file
from grpo_jax.policy.huggingface.exporter import save_checkpoint
from grpo_jax.policy.huggingface.importer import load_checkpoint

__all__ = [
    "ConfigFile",
    "describe",
    "different_fields",
    "load_checkpoint",
    "read_architecture",
    "read_config_file",
    "read_positions",
    "save_adapters",
    "save_checkpoint",
]
