"""Parameters in one safetensors file."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from grpo_jax.types import Params


def save_params(path: Path, params: Params) -> None:
    """Write host parameters to a safetensors file: whole, or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    save_file({name: np.ascontiguousarray(leaf) for name, leaf in _flatten(params)}, temporary)
    os.replace(temporary, path)


def load_params(path: Path) -> Params:
    """Return host parameters that `save_params` wrote."""
    params: Params = {}
    for name, leaf in load_file(path).items():
        *parents, last = name.split(".")
        node = params
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = leaf
    return params


def _flatten(params: Params, prefix: str = "") -> Iterator[tuple[str, np.ndarray]]:
    for name, node in params.items():
        if isinstance(node, dict):
            yield from _flatten(node, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", node
