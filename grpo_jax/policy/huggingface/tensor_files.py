"""safetensors files, read in pieces and written as a stream.

A file consists of eight bytes with the length of its header, the header (JSON: type, shape and offsets of each tensor),
and the tensors' bytes, little-endian and row-major. The safetensors library maps the whole file, so that everything it
has read counts as this process's memory, and it writes a file from all its tensors at once. Here both go piece by
piece.
"""

import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from grpo_jax.config import ConfigError, counted

DTYPES: Mapping[str, np.dtype[Any]] = {
    "F32": np.dtype(np.float32),
    "F16": np.dtype(np.float16),
    "BF16": np.dtype(jnp.bfloat16),
}
LONGEST_HEADER = 100_000_000  # bytes; the library's own limit
CHUNK = 2**26  # how many bytes are read at once


@dataclass(frozen=True)
class Tensor:
    """A tensor in a file, of which any part can be read."""

    file: Path
    kind: str  # its type, by the file's name for it
    shape: tuple[int, ...]
    offset: int  # bytes from the file's beginning

    def rows(self, first: int, count: int) -> "Tensor":
        """Return `count` rows of the tensor, from row `first` on."""
        row = math.prod(self.shape[1:]) * DTYPES[self.kind].itemsize
        return replace(self, shape=(count, *self.shape[1:]), offset=self.offset + first * row)

    def read(self, shape: Sequence[int], box: Sequence[slice], dtype: np.dtype[Any]) -> np.ndarray:
        """Read a box of the tensor.

        Whole rows are read, at most `CHUNK` bytes (or one row) at once. No more than this is in memory in addition to
        the box.

        Args:
          shape: the shape in which to read the tensor, with the same number of elements.
          box: for each axis of this shape, a slice without a step.
          dtype: dtype of the result.
        """
        bounds = [piece.indices(size)[:2] for piece, size in zip(box, shape, strict=True)]
        (first, last), *trailing = bounds
        inner = tuple(slice(*bound) for bound in trailing)
        out = np.empty([stop - start for start, stop in bounds], dtype)
        stored = DTYPES[self.kind]
        row = math.prod(shape[1:]) * stored.itemsize
        rows = max(1, CHUNK // max(row, 1))
        with self.file.open("rb") as stream:
            stream.seek(self.offset + first * row)
            for start in range(first, last, rows):
                stop = min(start + rows, last)
                chunk = np.empty((stop - start, *shape[1:]), stored)
                if stream.readinto(chunk.reshape(-1).view(np.uint8).data) != chunk.nbytes:
                    raise ConfigError(f"model.checkpoint={self.file}: got shorter while it was read; fetch it again.")
                out[start - first : stop - first] = chunk[:, *inner]
        return out


def open_tensors(directory: Path) -> dict[str, Tensor]:
    """Return all tensors of a checkpoint by name. Only headers are read.

    Raises:
      ConfigError: for a missing, truncated or damaged file.
    """
    tensors: dict[str, Tensor] = {}
    for file in _files(directory):
        for name, tensor in _read_header(file).items():
            if name in tensors:
                raise ConfigError(
                    f"model.checkpoint={directory}: {file.name} and {tensors[name].file.name} both have {name}; "
                    "remove the file that does not belong there."
                )
            tensors[name] = tensor
    return tensors


def _files(directory: Path) -> list[Path]:
    whole, index = directory / "model.safetensors", directory / "model.safetensors.index.json"
    if whole.is_file():
        return [whole]
    if not index.is_file():
        raise ConfigError(
            f"model.checkpoint={directory}: has neither model.safetensors nor model.safetensors.index.json; convert "
            "its weights to safetensors, other formats are not read."
        )
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        files = [directory / Path(name).name for name in names]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"model.checkpoint={index}: is damaged ({error!r}); fetch it again.") from error
    for file in files:
        if not file.is_file():
            raise ConfigError(f"model.checkpoint={directory}: {file.name} is missing, which {index.name} names.")
    return files


def _read_header(file: Path) -> dict[str, Tensor]:
    """Return the tensors of a file, by name, without their values. Raise ConfigError if the file is damaged."""
    size = file.stat().st_size
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if size < 8 or length > min(LONGEST_HEADER, size - 8):
            raise ConfigError(
                f"model.checkpoint={file}: has {counted(size, 'byte')}, too few for a header of {length}; the file is "
                "truncated or no safetensors file, fetch it again."
            )
        text = stream.read(length)
    try:
        entries = {name: entry for name, entry in json.loads(text).items() if name != "__metadata__"}
        tensors = {
            name: Tensor(file, str(entry["dtype"]), tuple(entry["shape"]), 8 + length + entry["data_offsets"][0])
            for name, entry in entries.items()
        }
        expected = 8 + length
        for name, tensor in sorted(tensors.items(), key=lambda item: entries[item[0]]["data_offsets"]):
            if tensor.offset != expected:
                raise ValueError(f"{name} does not begin where the tensor before it ends")
            expected = 8 + length + entries[name]["data_offsets"][1]
            needed = math.prod(tensor.shape) * DTYPES[tensor.kind].itemsize if tensor.kind in DTYPES else None
            if needed not in (None, expected - tensor.offset):
                raise ValueError(f"{name} has another size than its shape {tensor.shape} says")
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise ConfigError(f"model.checkpoint={file}: its header is damaged ({error}); fetch it again.") from error
    if expected != size:
        raise ConfigError(
            f"model.checkpoint={file}: has {counted(size, 'byte')}, and its header says {expected}; fetch it again."
        )
    return tensors


def write_tensors(
    file: Path, shapes: Mapping[str, Sequence[int]], dtype: np.dtype[Any], arrays: Iterable[np.ndarray]
) -> None:
    """Write a safetensors file, one array after the other.

    Args:
      shapes: shapes of the tensors by name.
      dtype: dtype of all tensors, one of `DTYPES`.
      arrays: the tensors in that order; each may have any shape with the same number of elements.

    Raises:
      ConfigError: if a value is too large for float16.
    """
    kind = next(name for name, known in DTYPES.items() if known == dtype)
    entries: dict[str, Any] = {"__metadata__": {"format": "pt"}}  # transformers wants this
    end = 0
    for name, shape in shapes.items():
        start, end = end, end + math.prod(shape) * dtype.itemsize
        entries[name] = {"dtype": kind, "shape": list(shape), "data_offsets": [start, end]}
    header = json.dumps(entries).encode()
    header += b" " * (-len(header) % 8)  # so that the tensors are aligned
    with file.open("wb") as stream:
        stream.write(len(header).to_bytes(8, "little") + header)
        for name, array in zip(shapes, arrays, strict=True):
            if dtype == np.float16 and (largest := np.abs(array).max(initial=0)) > np.finfo(np.float16).max:
                raise ConfigError(
                    f"dtype=float16: {name} has the value {float(largest):g}, which would become infinite; export with "
                    "bfloat16 or float32."
                )
            stream.write(np.ascontiguousarray(array, dtype).reshape(-1).view(np.uint8).data)
        stream.flush()
        os.fsync(stream.fileno())
