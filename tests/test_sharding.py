"""The order of devices in a mesh."""

from dataclasses import dataclass
from itertools import pairwise

import jax
import numpy as np
import pytest

from grpo_jax.config import MeshConfig
from grpo_jax.sharding import arrange, make_mesh


@dataclass(frozen=True)
class Chip:
    """What JAX knows of a device that is not there."""

    id: int
    coords: tuple[int, int, int]
    slice_index: int = 0
    platform: str = "tpu"
    device_kind: str = "TPU v5 lite"
    core_on_chip: int = 0


def slices(number, side):
    """Return the chips of v5e slices with this many rows and columns, in JAX's order."""
    places = [(x, y, 0) for y in range(side) for x in range(side)]
    return [
        Chip(slice_index * len(places) + place, coords, slice_index)
        for slice_index in range(number)
        for place, coords in enumerate(places)
    ]


def hops(one, other):
    return sum(abs(a - b) for a, b in zip(one.coords, other.coords, strict=True))


def test_cpus_keep_their_order():
    mesh = make_mesh(MeshConfig(2, 2, 2))
    assert mesh.devices.flatten().tolist() == jax.devices()
    apart = [Chip(place, (0, 0, 0), slice_index=place % 2, platform="cpu") for place in range(4)]
    assert arrange((4, 1, 1), apart).flatten().tolist() == apart


@pytest.mark.parametrize("shape", [(1, 16, 1), (4, 2, 2)])
def test_neighbours_along_the_last_axis_are_neighbours_in_the_slice(shape):
    arranged = arrange(shape, slices(1, 4))
    assert arranged.shape == shape
    rings = arranged.reshape(-1, shape[2] if shape[2] > 1 else shape[1])
    assert all(hops(one, other) == 1 for ring in rings for one, other in pairwise(ring))


@pytest.mark.parametrize(
    ("shape", "whole"),
    [((4, 16, 1), (1, 2)), ((4, 4, 4), (1, 2)), ((8, 4, 2), (1, 2)), ((2, 32, 1), (2,)), ((1, 16, 4), (2,))],
)
def test_slices_lie_along_the_first_axes(shape, whole):
    """Collectives along the axes in `whole` stay within one of four slices, or at least within the mesh's rows."""
    chips = slices(4, 4)
    arranged = arrange(shape, chips)
    assert sorted(chip.id for chip in arranged.flatten()) == list(range(64))
    of = np.vectorize(lambda chip: chip.slice_index)(arranged)
    for axis in whole:
        assert (of == np.take(of, [0], axis=axis)).all()
