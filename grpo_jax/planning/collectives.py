"""Traffic between chips: the bytes that a program's collectives send, and the time that the links need for them.

In a ring over n chips, which sends in both directions at once, each chip passes on (n - 1) / n of the whole array for a
gather or a scatter, and twice as much for an all-reduce (the Scaling Book, chapter 3). The compiler does not estimate
the time. Here it follows from published speeds, plus a microsecond per hop: those of the links of one axis of the torus
(TPU), or of all links of a GPU, and of the network if a ring goes through several nodes.
"""

import math
import re
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from grpo_jax.planning.chips import Chip
from grpo_jax.planning.hlo import Computation, Instruction

HOP_SECONDS = 1e-6


class Traffic(NamedTuple):
    """One execution of a collective operation."""

    kind: str
    channel: int  # the same for all parts of one operation
    bytes: int  # of the whole array that is gathered, summed or scattered, on one chip
    seconds: float
    beside: bool  # other operations run at the same time


# (n chips) -> (the share of the whole array that passes through a chip, the number of consecutive hops)
_RINGS: dict[str, Callable[[int], tuple[float, float]]] = {
    "all-gather": lambda n: ((n - 1) / n, n / 2),
    "reduce-scatter": lambda n: ((n - 1) / n, n / 2),
    "all-reduce": lambda n: (2 * (n - 1) / n, n),
    "all-to-all": lambda n: (n / 8, n / 2),
    "collective-permute": lambda n: (2.0, 1),  # one neighbour, one direction
}


def traffic(instruction: Instruction, computation: Computation, chip: Chip) -> Traffic | None:
    """Return the traffic of an instruction of this computation; None if it sends nothing."""
    kind = instruction.opcode.removesuffix("-start")
    if kind not in _RINGS:
        return None
    members, channel = participants(instruction.text), _channel(instruction)
    n = len(members)
    whole = sum(shape.bytes for operand in computation.operands(instruction) for shape in operand.shapes)
    whole *= n if kind == "all-gather" else 1
    beside = instruction.opcode.endswith("-start") and '"is_sync":true' not in instruction.text
    if n == 1:
        return Traffic(kind, channel, whole, 0.0, beside)
    share, hops = _RINGS[kind](n)
    return Traffic(kind, channel, whole, share * whole / chip.ring_bandwidth(members) + hops * HOP_SECONDS, beside)


def _channel(instruction: Instruction) -> int:
    found = re.search(r"channel_id=(\d+)", instruction.text)
    return int(found[1]) if found else -id(instruction)


def participants(text: str) -> tuple[int, ...]:
    """Return the chips of the first group, from any of the ways in which XLA writes groups."""
    if mesh := re.search(r"replica_groups=mesh\[([^\]]*)\] ?\{([^}]*)\}", text):
        sizes = {axis: int(size) for axis, size in re.findall(r"'([^']+)'=(\d+)", mesh[1])}
        over = [axis in re.findall(r"'([^']+)'", mesh[2]) for axis in sizes]
        chips = np.arange(math.prod(sizes.values())).reshape(*sizes.values())
        return tuple(chips[tuple(slice(None) if inside else 0 for inside in over)].flatten().tolist())
    if listed := re.search(r"replica_groups=\[(\d+),(\d+)\]<=\[([\d,]+)\](?:T\(([\d,]+)\))?", text):
        shape = [int(size) for size in listed[3].split(",")]
        order = [int(axis) for axis in listed[4].split(",")] if listed[4] else range(len(shape))
        chips = np.arange(math.prod(shape)).reshape(shape).transpose(order)
        return tuple(chips.reshape(int(listed[1]), int(listed[2]))[0].tolist())
    if spelled := re.search(r"(?:replica_groups|source_target_pairs)=\{\{([\d,]*)\}", text):
        return tuple(int(chip) for chip in spelled[1].split(","))
    return 0, 1
