"""Write parameters into a directory that transformers and vLLM load, one tensor at a time."""

import json
import math
import os
import shutil
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from grpo_jax.config import ConfigError
from grpo_jax.policy.huggingface.architecture import check_same, parse_architecture
from grpo_jax.policy.huggingface.config_file import ConfigFile, read_config_file
from grpo_jax.policy.huggingface.names import Stored, all_stored, stored_params, tensor_shapes
from grpo_jax.policy.huggingface.tensor_files import DTYPES, write_tensors
from grpo_jax.policy.policy import Policy
from grpo_jax.processes import fetch, on_any_process
from grpo_jax.types import Params

# The tokenizer and its chat templates, copied byte for byte.
TOKENIZER_FILES = (
    "tokenizer*",
    "vocab.*",
    "merges.txt",
    "tekken.json",
    "spiece.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template*",
    "additional_chat_templates/*.jinja",
)
LICENCES = ("LICENSE*", "NOTICE*", "USE_POLICY*")
# Files that are copied along with the weights. A checkpoint's other files (model card, history) describe other weights.
COMPANIONS = (*TOKENIZER_FILES, "generation_config.json", *LICENCES)


def copy_files(source: Path, to: Path, patterns: Iterable[str]) -> None:
    """Copy the files of a directory whose names match, into a directory that exists."""
    for path in (path for pattern in patterns for path in source.glob(pattern) if path.is_file()):
        copy = to / path.relative_to(source)
        copy.parent.mkdir(exist_ok=True)
        shutil.copyfile(path, copy)


def save_checkpoint(
    directory: Path,
    policy: Policy,
    params: Params,
    source: Path | Mapping[str, Any],
    dtype: Any = jnp.bfloat16,
    shard_bytes: int = 5 * 10**9,
    card: str = "",
) -> None:
    """Write a checkpoint in Hugging Face's format: whole, or not at all.

    All processes take part, and the first writes. One tensor is in host memory at once.

    Args:
      directory: created here; it must not exist.
      params: the policy's parameters, on any mesh.
      source: the checkpoint that the policy came from, whose config.json, tokenizer and licence are copied; or the
        values of a config.json, as `describe` returns them.
      dtype: dtype of the tensors: float32, bfloat16 or float16.
      shard_bytes: maximum size of a file, unless one tensor is larger.
      card: the model card, README.md; "": there is none.

    Raises:
      ConfigError: if the directory exists or cannot be written, or the source is another model's.
    """
    file = read_config_file(source) if isinstance(source, Path) else ConfigFile("config.json", source)
    plan = _plan(policy, params, file)
    shards = _cut({piece.name: piece.shape for piece in plan}, np.dtype(dtype).itemsize, shard_bytes)
    write_directory(directory, plan, shards, np.dtype(dtype), partial(_begin, file=file, source=source, card=card))


def write_directory(
    directory: Path,
    plan: Sequence["Piece"],
    shards: Mapping[str, Mapping[str, tuple[int, ...]]],
    to: np.dtype[Any],
    begin: Callable[[Path, np.dtype[Any]], None],
) -> None:
    """Write tensors and their other files: whole, or not at all. All processes take part, and the first writes.

    Args:
      plan: all tensors.
      shards: for each file, the names and shapes of its tensors.
      to: the tensors' dtype.
      begin: (directory, dtype) -> None; creates the directory with all other files.

    Raises:
      ConfigError: if the directory exists or cannot be written, or the dtype is not in `DTYPES`.
    """
    if to not in DTYPES.values():
        raise ConfigError(f"dtype={to}: cannot be exported; use one of {', '.join(map(str, DTYPES.values()))}.")
    if on_any_process(directory.exists()):
        raise ConfigError(f"{directory}: already exists; name a directory that does not.")
    pieces = {piece.name: piece for piece in plan}
    temporary = directory.with_name(f".{directory.name}.{os.getpid()}.tmp")
    try:
        _first_process(directory, partial(begin, temporary, to))
        for name, shapes in shards.items():
            arrays = (pieces[tensor].fetch() for tensor in shapes)
            _first_process(directory, partial(write_tensors, temporary / name, shapes, to, arrays), arrays)
        _first_process(directory, partial(_finish, temporary, directory, shards, to.itemsize))
    finally:
        if jax.process_index() == 0:
            shutil.rmtree(temporary, ignore_errors=True)  # there is none if all went well


@dataclass(frozen=True)
class Part:
    """A parameter, or one layer's or expert's share of it: a whole tensor, or some of its rows."""

    stored: Stored
    parameter: Any
    index: tuple[int, ...]  # along the parameter's leading axes

    def fetch(self) -> np.ndarray:
        """Return the rows on the host, as they are in the file. All processes take part."""
        with jax.transfer_guard("allow"):
            array = np.asarray(fetch(self.parameter[self.index] if self.index else self.parameter))
        return array.transpose(self.stored.order).reshape(self.stored.flattened)


@dataclass(frozen=True)
class Piece:
    """A tensor to write."""

    name: str
    shape: tuple[int, ...]  # in the file
    parts: Sequence[Part]  # one below the other

    def fetch(self) -> np.ndarray:
        """Return the tensor on the host, as it is in the file. All processes take part."""
        rows = [part.fetch() for part in self.parts]
        whole = rows[0] if len(rows) == 1 else np.concatenate(rows)
        return whole[: self.shape[0]]  # without the rows that pad a vocabulary for the devices


def pieces_of(stored: Any, params: Params, vocabulary: int) -> list[Piece]:
    """Return all tensors of a checkpoint.

    Args:
      stored: the tree of `Stored`.
      params: the parameters.
      vocabulary: how many rows of the embedding are written.
    """
    parts: dict[str, list[Part]] = {}
    for one, parameter in zip(all_stored(stored), jax.tree.leaves(params), strict=True):
        for index, name in one.tensors():
            parts.setdefault(name, []).append(Part(one, parameter, index))
    return [
        Piece(name, shape, sorted(parts[name], key=lambda part: part.stored.first))
        for name, shape in tensor_shapes(all_stored(stored), vocabulary).items()
    ]


def _plan(policy: Policy, params: Params, file: ConfigFile) -> list[Piece]:
    """Return all tensors of the checkpoint. Raises ConfigError if its config.json describes another model."""
    check_same(file, policy.architecture)
    rows = parse_architecture(file).vocab_size
    if rows > policy.vocab_size:
        raise file.refuse("vocab_size", rows, f"the policy has {policy.vocab_size}; name the checkpoint it came from")
    return pieces_of(stored_params(policy, file.family), params, rows)


def _cut(shapes: Mapping[str, tuple[int, ...]], itemsize: int, most: int) -> dict[str, dict[str, tuple[int, ...]]]:
    """Return the tensors of each file, with the files named as transformers names them."""
    shards: list[dict[str, tuple[int, ...]]] = [{}]
    room = most
    for name, shape in shapes.items():
        size = math.prod(shape) * itemsize
        if size > room and shards[-1]:
            shards.append({})
            room = most
        shards[-1][name] = shape
        room -= size
    if len(shards) == 1:
        return {"model.safetensors": shards[0]}
    return {f"model-{at + 1:05}-of-{len(shards):05}.safetensors": shard for at, shard in enumerate(shards)}


def _first_process(directory: Path, act: Callable[[], None], arrays: Iterable[Any] = ()) -> None:
    """Let the first process act. If it fails, all processes raise ConfigError.

    Args:
      arrays: arrays that `act` uses. All processes must compute them together, even those that do not use them.
    """
    failure = None
    if jax.process_index() == 0:
        try:
            act()
        except OSError as error:
            failure = error
    deque(arrays, maxlen=0)
    if on_any_process(failure is not None):
        why = failure or "the first process could not"
        raise ConfigError(
            f"{directory}: cannot be written ({why}); nothing was left behind, make room or name another."
        )


def _begin(
    temporary: Path, dtype: np.dtype[Any], file: ConfigFile, source: Path | Mapping[str, Any], card: str
) -> None:
    """Create the directory with all files but the tensors."""
    begin_directory(temporary, card)
    # Each version of transformers has its own key; all versions read the older one.
    named = {key: dtype.name for key in ("torch_dtype", "dtype") if key in file.values} or {"torch_dtype": dtype.name}
    # Without the names of Python files, which are not copied: transformers has the same code.
    values = {key: value for key, value in {**file.values, **named}.items() if key != "auto_map"}
    if isinstance(source, Path):
        copy_files(source, temporary, COMPANIONS)
        if values == file.values and not file.wrapped:
            shutil.copyfile(source / "config.json", temporary / "config.json")
            return
    write_json(temporary / "config.json", values)


def begin_directory(temporary: Path, card: str) -> None:
    """Create the directory, with the model card if there is one."""
    temporary.mkdir(parents=True)
    if card:
        (temporary / "README.md").write_text(card, encoding="utf-8")


def _finish(
    temporary: Path, directory: Path, shards: Mapping[str, Mapping[str, tuple[int, ...]]], itemsize: int
) -> None:
    """Write the index if there are several files, and give the directory its name."""
    if len(shards) > 1:
        total = sum(math.prod(shape) * itemsize for shard in shards.values() for shape in shard.values())
        index = {tensor: name for name, shard in shards.items() for tensor in sorted(shard)}
        write_json(temporary / "model.safetensors.index.json", {"metadata": {"total_size": total}, "weight_map": index})
    os.rename(temporary, directory)


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write a file of indented JSON."""
    path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
