"""The device mesh, and the one table that maps logical axes to mesh axes."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import jax
import numpy as np
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding, PartitionSpec

from grpo_jax.config import ConfigError, MeshConfig

Rules: TypeAlias = Mapping[str | None, str | tuple[str, ...] | None]  # logical axis -> mesh axes

# fsdp splits parameters along `embed` (they are gathered where they are used), and tensor splits them along heads, mlp
# and vocabulary. Arrays with a batch axis are spread over data and fsdp.
RULES: Rules = {
    "batch": ("data", "fsdp"),
    "layers": None,
    "vocab": "tensor",
    "embed": "fsdp",
    "heads": "tensor",
    "kv_heads": "tensor",
    "head_dim": None,
    "mlp": "tensor",
    "rank": None,  # of adapters
    None: None,
}

# For sampling, parameters are gathered over fsdp once, because every decode step reads all of them.
SAMPLING_RULES: Rules = {**RULES, "embed": None}


def make_mesh(config: MeshConfig, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """Make the (data, fsdp, tensor) mesh of these devices, or of all devices.

    Raises:
      ConfigError: if the mesh's size is not the number of devices.
    """
    devices = jax.devices() if devices is None else list(devices)
    fixed = config.fsdp * config.tensor
    data = len(devices) // fixed if config.data == -1 else config.data
    if data * fixed != len(devices):
        raise ConfigError(
            f"mesh={config.data}x{config.fsdp}x{config.tensor} (data x fsdp x tensor): does not cover the "
            f"{len(devices)} devices; set mesh.data to -1 and fsdp x tensor to a divisor of {len(devices)}."
        )
    grid = np.array(devices).reshape(data, config.fsdp, config.tensor)
    return Mesh(grid, ("data", "fsdp", "tensor"), axis_types=(AxisType.Auto,) * 3)


def batch_shards(mesh: Mesh | AbstractMesh) -> int:
    """Return into how many pieces a batch axis is split."""
    return _pieces(mesh, RULES["batch"])


def named(mesh: Mesh, *axes: str | None, rules: Rules = RULES) -> NamedSharding:
    """Return the sharding of an array whose axes have these logical names. Further axes are not split."""
    return NamedSharding(mesh, PartitionSpec(*(rules[axis] for axis in axes)))


def tree_named(mesh: Mesh, shapes: Any, logical_axes: Any, rules: Rules = RULES) -> Any:
    """Return the shardings of a tree of arrays (or of their shapes), given a tree of tuples of logical names.

    An axis is split only if its mesh axes divide its length: a vocabulary of 17 stays whole on every device.
    """

    def of_leaf(leaf: Any, axes: tuple[str | None, ...]) -> NamedSharding:
        cut = [rules[axis] for axis in axes]
        fits = [size % _pieces(mesh, over) == 0 for size, over in zip(leaf.shape, cut, strict=True)]
        return NamedSharding(mesh, PartitionSpec(*(over if fit else None for over, fit in zip(cut, fits, strict=True))))

    return jax.tree.map(of_leaf, shapes, logical_axes)


def on_each_shard(
    mesh: Mesh | None, function: Callable[..., Any], in_axes: Sequence[int | None], out_axes: int | Sequence[int]
) -> Callable[..., Any]:
    """Return a function that every shard of a batch runs on its own rows, without looking at the others'.

    Args:
      mesh: None: there is one shard.
      function: of one shard's arguments.
      in_axes: of each argument (a tree), the axis of its leaves that is the batch's; None: all shards have the same.
      out_axes: the same of each result.
    """
    if mesh is None:
        return function

    def spec(axis: int | None) -> PartitionSpec:
        return PartitionSpec() if axis is None else PartitionSpec(*(None,) * axis, RULES["batch"])

    return jax.shard_map(
        function,
        mesh=mesh,
        in_specs=tuple(map(spec, in_axes)),
        out_specs=spec(out_axes) if isinstance(out_axes, int) else tuple(map(spec, out_axes)),
        axis_names=set(RULES["batch"] or ()),
        check_vma=False,  # nothing is the same on all shards
    )


def _pieces(mesh: Mesh | AbstractMesh, over: str | tuple[str, ...] | None) -> int:
    names = (over,) if isinstance(over, str) else over or ()
    return math.prod(mesh.shape[name] for name in names)
