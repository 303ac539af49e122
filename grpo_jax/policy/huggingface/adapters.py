"""Write adapters into a directory that PEFT and vLLM load on top of the checkpoint on which they were trained."""

import dataclasses
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from grpo_jax.config import ConfigError
from grpo_jax.policy.huggingface.config_file import ConfigFile
from grpo_jax.policy.huggingface.exporter import Piece, begin_directory, pieces_of, write_directory, write_json
from grpo_jax.policy.huggingface.names import BLOCK, all_stored, stored_params, tensor_shapes
from grpo_jax.policy.lora import trained_of
from grpo_jax.policy.policy import Policy
from grpo_jax.types import Params

PREFIX = "base_model.model."  # of the tensors' names: PEFT wraps the model twice
FILE = "adapter_model.safetensors"
B = ".lora_B.weight"


@dataclass(frozen=True)
class Blocks(Piece):
    """The B of a tensor that several modules share: for each of their adapters a block, and zeros beside the blocks.

    A block has the rows of its module, and the columns that multiply the rows of its A, which lie one below the other.
    So the product with all As is each module's B A in its rows.
    """

    def fetch(self) -> np.ndarray:
        """Return the tensor on the host, as it is in the file. All processes take part."""
        blocks = [part.fetch() for part in self.parts]
        whole, column = np.zeros(self.shape, blocks[0].dtype), 0
        for part, block in zip(self.parts, blocks, strict=True):
            rows, columns = block.shape
            whole[part.stored.first : part.stored.first + rows, column : column + columns] = block
            column += columns
        return whole


def save_adapters(
    directory: Path,
    policy: Policy,
    params: Params,
    file: ConfigFile,
    dtype: Any = jnp.float32,
    base_model: str = "",
    card: str = "",
) -> None:
    """Write adapters in PEFT's format: whole, or not at all. All processes take part, and the first writes.

    If a checkpoint keeps several modules in one tensor, as Phi's do, PEFT has one adapter for the tensor. Its rank is
    the sum of theirs (`Blocks`), and so is its alpha: alpha / rank stays the same.

    Args:
      directory: created here; it must not exist.
      policy: a policy with adapters.
      params: its parameters, on any mesh, of which the adapters are written.
      file: config.json of the checkpoint on which they were trained.
      dtype: dtype of the tensors: float32, bfloat16 or float16.
      base_model: the name of that checkpoint in adapter_config.json, from which PEFT loads it.
      card: the model card, README.md; "": there is none.

    Raises:
      ConfigError: if the policy has no adapters, or the directory exists or cannot be written.
    """
    lora = policy.model.lora
    if lora is None:
        raise ConfigError("model.lora=None: there are no adapters, all parameters were trained; export them instead.")
    if file.wrapped:
        raise ConfigError(
            f"{file.where}: is a model that also reads images, in which adapters have other names; merge them into the "
            "text model: leave --adapters out, or set rollout.engine.adapters to 'merged'."
        )
    fused = file.family.fused
    theirs = [{**BLOCK, **fused}[path] for path in BLOCK if path.rpartition(".")[2] in lora.modules]
    adapters_of = Counter(name.rpartition(".")[2] for name in theirs)
    several = {name: count for name, count in adapters_of.items() if count > 1}
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base_model,
        "r": lora.rank,
        "lora_alpha": lora.alpha,
        "rank_pattern": {name: count * lora.rank for name, count in several.items()},
        "alpha_pattern": {name: count * lora.alpha for name, count in several.items()},
        "target_modules": sorted(adapters_of),
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
    }
    stored = stored_params(policy, file.family)
    kernels = tensor_shapes(all_stored(stored), vocabulary=0)
    shared = tuple(f"{name}{B}" for name in fused.values())

    def named(piece: Piece) -> Piece:
        name = PREFIX + piece.name
        if not piece.name.endswith(shared):
            return dataclasses.replace(piece, name=name)
        rows, _ = kernels[piece.name.removesuffix(B) + ".weight"]
        return Blocks(name, (rows, lora.rank * len(piece.parts)), piece.parts)

    pieces = [named(piece) for piece in pieces_of(trained_of(stored), trained_of(params), vocabulary=0)]

    def begin(temporary: Path, _: np.dtype[Any]) -> None:
        begin_directory(temporary, card)
        write_json(temporary / "adapter_config.json", config)

    write_directory(directory, pieces, {FILE: {piece.name: piece.shape for piece in pieces}}, np.dtype(dtype), begin)
