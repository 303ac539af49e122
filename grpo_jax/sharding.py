"""The device mesh, and the one table that maps logical axes to mesh axes."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import jax
import numpy as np
from jax.experimental import mesh_utils
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding, PartitionSpec

from grpo_jax.config import ConfigError, MeshConfig, counted

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
    "experts": None,  # each device has a part of every expert, so no token travels to another device
    "rank": None,  # of adapters
    None: None,
}

# For sampling, parameters are gathered over fsdp once, because every decode step reads all of them.
SAMPLING_RULES: Rules = {**RULES, "embed": None}


def make_mesh(config: MeshConfig, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """Make the (data, fsdp, tensor) mesh of these devices, or of all devices, arranged as in `arrange`.

    Raises:
      ConfigError: if the mesh's size is not the number of devices.
    """
    devices = jax.devices() if devices is None else list(devices)
    fixed = config.fsdp * config.tensor
    data = len(devices) // fixed if config.data == -1 else config.data
    if data * fixed != len(devices):
        raise ConfigError(
            f"mesh={config.data}x{config.fsdp}x{config.tensor} (data x fsdp x tensor): does not cover the "
            f"{counted(len(devices), 'device')}; set mesh.data to -1 and fsdp x tensor to a divisor of {len(devices)}."
        )
    grid = arrange((data, config.fsdp, config.tensor), devices)
    return Mesh(grid, ("data", "fsdp", "tensor"), axis_types=(AxisType.Auto,) * 3)


def make_meshes(config: MeshConfig, devices: Sequence[jax.Device] | None = None) -> tuple[Mesh, Mesh]:
    """Make the mesh that trains and the one that samples: one mesh, unless a share of the devices only samples.

    These are the last devices. Their mesh splits the weights along `tensor` as the other one does.

    Raises:
      ConfigError: if a mesh does not cover its devices, or if devices of several processes are to be shared out.
    """
    devices = jax.devices() if devices is None else list(devices)
    if not config.rollout_share:
        mesh = make_mesh(config, devices)
        return mesh, mesh
    share = f"mesh.rollout_share={config.rollout_share:g}"
    sampling = round(config.rollout_share * len(devices))
    if not math.isclose(sampling, config.rollout_share * len(devices)) or not 0 < sampling < len(devices):
        raise ConfigError(
            f"{share}: must leave whole devices of the {len(devices)} to both parts, as 0.5 does of two; with 0 all "
            "devices do both in turn."
        )
    if len({device.process_index for device in devices}) > 1:
        raise ConfigError(f"{share}: is for one process, because weights pass from device to device; set it to 0.")
    training = len(devices) - sampling
    try:
        return (
            make_mesh(config, devices[:training]),
            make_mesh(MeshConfig(tensor=config.tensor), devices[training:]),
        )
    except ConfigError as error:
        raise ConfigError(
            f"{share}: leaves {counted(training, 'device')} for training and {sampling} for sampling; {error}"
        ) from None


def arrange(shape: Sequence[int], devices: Sequence[Any]) -> np.ndarray:
    """Return devices in an array, so that neighbours along an axis are near each other in the network.

    The last axes communicate most and get the nearest devices. Slices of TPUs, or groups of GPUs, that are joined by
    nothing but the data centre's network lie along the first axis, as far as its length is divisible by their number.
    CPU devices keep their order.

    Args:
      shape: of the array.
      devices: as many as it has places.
    """
    left = len({getattr(device, "slice_index", 0) for device in devices})
    if left == 1 or devices[0].platform == "cpu":
        return mesh_utils.create_device_mesh(shape, devices, allow_split_physical_axes=True)
    between = []  # slices along each axis
    for size in shape:
        between.append(math.gcd(left, size))
        left //= between[-1]
    within = [size // slices for size, slices in zip(shape, between, strict=True)]
    return mesh_utils.create_hybrid_device_mesh(within, between, devices, allow_split_physical_axes=True)


def batch_shards(mesh: Mesh | AbstractMesh | None) -> int:
    """Return into how many pieces a batch axis is split; 1 without a mesh."""
    return 1 if mesh is None else _pieces(mesh, RULES["batch"])


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
