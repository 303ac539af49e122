"""Read a checkpoint's files straight onto the mesh, one device's shard at a time."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Sharding

from grpo_jax.config import ConfigError
from grpo_jax.policy.huggingface.architecture import check_same, parse_architecture
from grpo_jax.policy.huggingface.config_file import read_config_file
from grpo_jax.policy.huggingface.names import (
    BUFFERS,
    HEAD,
    VOCABULARY,
    Stored,
    all_stored,
    stored_params,
    tensor_shapes,
    text_name,
)
from grpo_jax.policy.huggingface.tensor_files import DTYPES, Tensor, open_tensors
from grpo_jax.policy.policy import Policy
from grpo_jax.types import Params


def load_checkpoint(directory: Path, policy: Policy, shardings: Any, dtype: Any = jnp.float32) -> Params:
    """Load the parameters of a checkpoint in Hugging Face's format.

    Every process reads what its own devices need, and keeps at most one shard of one parameter in host memory. If the
    policy's vocabulary is larger than the one in config.json, its additional rows are zeros.

    Args:
      directory: has config.json and model.safetensors, or shards and their index.
      policy: has the checkpoint's architecture; its vocabulary may be larger.
      shardings: shardings of the parameters: a tree like them, or one for all.
      dtype: dtypes of the parameters: a tree like them, or one for all.

    Raises:
      ConfigError: if files or tensors are missing or damaged, or belong to another model than the policy.
    """
    file = read_config_file(directory)
    check_same(file, policy.architecture)
    wanted = stored_params(policy, file.family)
    tensors = open_tensors(directory)
    if file.wrapped:
        renamed = {text_name(name): tensor for name, tensor in tensors.items()}
        tensors = {name: tensor for name, tensor in renamed.items() if name is not None}
    _check_tensors(directory, policy, parse_architecture(file).vocab_size, list(all_stored(wanted)), tensors)
    if isinstance(shardings, Sharding):
        one = shardings
        shardings = jax.tree.map(lambda _: one, wanted)
    dtypes = dtype if isinstance(dtype, dict) else jax.tree.map(lambda _: dtype, wanted)
    return jax.tree.map(
        lambda stored, sharding, to: _load(stored, _tensors_of(stored, tensors), sharding, np.dtype(to)),
        wanted,
        shardings,
        dtypes,
    )


def _tensors_of(stored: Stored, tensors: Mapping[str, Tensor]) -> list[Tensor]:
    """Return the tensors of a parameter, or their rows that hold it. A vocabulary may have fewer rows than here."""
    whole = [tensors[name] for name in stored.names]
    return [tensor.rows(stored.first, min(tensor.shape[0], stored.flattened[0])) for tensor in whole]


def _load(stored: Stored, tensors: Sequence[Tensor], sharding: Sharding, dtype: np.dtype[Any]) -> jax.Array:
    """Return a parameter on the devices of this process, each of which gets its piece alone."""
    shape = (*stored.leading, *stored.shape)
    holders: dict[tuple[tuple[int, int], ...], list[jax.Device]] = {}  # the devices of each piece, which is read once
    for device, index in sharding.addressable_devices_indices_map(shape).items():
        whole = index or (slice(None),) * len(shape)
        start_stop = [part.indices(size) for part, size in zip(whole, shape, strict=True)]
        holders.setdefault(tuple((start, stop) for start, stop, _ in start_stop), []).append(device)
    shards: list[jax.Array] = []
    for piece, devices in holders.items():
        block = _read(stored, tensors, [slice(*bounds) for bounds in piece], dtype)
        with jax.transfer_guard("allow"):
            shards += jax.block_until_ready([jax.device_put(block, device) for device in devices])
    return jax.make_array_from_single_device_arrays(shape, sharding, shards)


def _read(stored: Stored, tensors: Sequence[Tensor], index: Sequence[slice], dtype: np.dtype[Any]) -> np.ndarray:
    """Return the piece of the parameter that an index (a slice for each axis) selects."""
    if not stored.leading:
        return _read_tensor(stored, tensors[0], index, dtype)
    outside, inside = index[: len(stored.leading)], index[len(stored.leading) :]
    chosen = np.arange(len(tensors)).reshape(stored.leading)[tuple(outside)]
    block = np.empty((*chosen.shape, *_extent(stored.shape, inside)), dtype)
    for at in np.ndindex(chosen.shape):
        block[at] = _read_tensor(stored, tensors[int(chosen[at])], inside, dtype)
    return block


def _read_tensor(stored: Stored, tensor: Tensor, index: Sequence[slice], dtype: np.dtype[Any]) -> np.ndarray:
    shape, box = list(stored.unflattened), [index[axis] for axis in stored.order]
    wanted = _extent(shape, box)
    shape[0] = tensor.shape[0] * shape[0] // stored.flattened[0]  # the file's vocabulary may be smaller
    found = tensor.read(shape, box, dtype)
    if found.shape != wanted:
        found = np.pad(found, [(0, size - there) for size, there in zip(wanted, found.shape, strict=True)])
    return found.transpose(np.argsort(stored.order))


def _extent(shape: Sequence[int], box: Sequence[slice]) -> tuple[int, ...]:
    return tuple(len(range(*piece.indices(size))) for size, piece in zip(shape, box, strict=True))


def _check_tensors(
    directory: Path, policy: Policy, rows: int, wanted: list[Stored], tensors: Mapping[str, Tensor]
) -> None:
    """Refuse a checkpoint of another model than the policy, or without `rows` tokens, before any tensor is read."""
    where = f"model.checkpoint={directory}"
    shapes = tensor_shapes(wanted, rows)
    known = set(shapes) | ({HEAD} if policy.architecture.tied_head else set())
    missing = [name for name in shapes if name not in tensors]
    extra = [name for name in tensors if name not in known and not name.endswith(BUFFERS)]
    if missing or extra:
        both = [f"{what} {_some(names)}" for what, names in (("lacks", missing), ("also has", extra)) if names]
        raise ConfigError(f"{where}: its tensors are not those of its config.json's model: it {' and '.join(both)}.")
    for name, shape in shapes.items():
        found = tensors[name].shape
        if found != shape:
            raise ConfigError(f"{where}: {name} has the shape {found}, and config.json asks for {shape}.")
        if tensors[name].kind not in DTYPES:
            raise ConfigError(
                f"{where}: {name} is stored as {tensors[name].kind}; supported are {', '.join(DTYPES)}, convert it."
            )
    if HEAD in tensors and HEAD not in shapes:
        _check_tied(where, tensors[VOCABULARY[0]], tensors[HEAD])


def _check_tied(where: str, embedding: Tensor, head: Tensor) -> None:
    def rows(tensor: Tensor, start: int) -> np.ndarray:
        return tensor.read(tensor.shape, (slice(start, start + 1024), slice(None)), np.dtype(np.float32))

    if embedding.shape != head.shape or not all(
        np.array_equal(rows(embedding, start), rows(head, start)) for start in range(0, head.shape[0], 1024)
    ):
        raise ConfigError(
            f"{where}: config.json ties the head to the embedding, and {HEAD} is another matrix; set "
            "tie_word_embeddings to false in it."
        )


def _some(names: Sequence[str], most: int = 3) -> str:
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")
