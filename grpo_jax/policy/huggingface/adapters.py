"""Write adapters into a directory that PEFT loads on top of the checkpoint on which they were trained."""

import dataclasses
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from grpo_jax.config import ConfigError
from grpo_jax.policy.huggingface.config_file import read_config_file
from grpo_jax.policy.huggingface.exporter import begin_directory, pieces_of, write_directory, write_json
from grpo_jax.policy.huggingface.names import BLOCK, stored_params
from grpo_jax.policy.lora import trained_of
from grpo_jax.policy.policy import Policy
from grpo_jax.types import Params

PREFIX = "base_model.model."  # of the tensors' names: PEFT wraps the model twice
FILE = "adapter_model.safetensors"


def save_adapters(
    directory: Path,
    policy: Policy,
    params: Params,
    source: Path,
    dtype: Any = jnp.float32,
    base_model: str = "",
    card: str = "",
) -> None:
    """Write adapters in PEFT's format: whole, or not at all. All processes take part, and the first writes.

    Args:
      directory: is created; it must not exist.
      policy: a policy with adapters.
      params: its parameters, on any mesh, of which the adapters are written.
      source: the checkpoint on which they were trained.
      dtype: dtype of the tensors: float32, bfloat16 or float16.
      base_model: the name of that checkpoint in adapter_config.json, from which PEFT loads it; "": its path.
      card: the model card, README.md; "": there is none.

    Raises:
      ConfigError: if the policy has no adapters, or the directory exists or cannot be written.
    """
    lora = policy.model.lora
    if lora is None:
        raise ConfigError("model.lora=None: there are no adapters, all parameters were trained; export them instead.")
    file = read_config_file(source)
    if file.wrapped:
        raise ConfigError(
            f"{source}: is a model that also reads images, in which PEFT looks for adapters under other names; "
            "leave --adapters out to merge them into the text model."
        )
    shared = [module for module in lora.modules if any(path.endswith(f".{module}") for path in file.family.fused)]
    if shared:
        raise ConfigError(
            f"{source}: keeps {', '.join(shared)} in tensors of several modules, for which PEFT has one adapter; leave "
            "--adapters out to merge them."
        )
    stored = trained_of(stored_params(policy, file.family))
    pieces = [
        dataclasses.replace(piece, name=PREFIX + piece.name)
        for piece in pieces_of(stored, trained_of(params), vocabulary=0)
    ]
    theirs = {path.rpartition(".")[2]: name.rpartition(".")[2] for path, name in BLOCK.items()}
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base_model or str(source),
        "r": lora.rank,
        "lora_alpha": lora.alpha,
        "target_modules": sorted(theirs[module] for module in lora.modules),
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
    }

    def begin(temporary: Path, _: np.dtype[Any]) -> None:
        begin_directory(temporary, card)
        write_json(temporary / "adapter_config.json", config)

    shards = {FILE: {piece.name: piece.shape for piece in pieces}}
    write_directory(directory, pieces, shards, np.dtype(dtype), begin)
