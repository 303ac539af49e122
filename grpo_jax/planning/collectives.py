"""Traffic between chips: the bytes that a program's collectives send, and the time that the links need for them.

In a ring over n chips, which sends in both directions at once, each chip passes on (n - 1) / n of the whole array for a
gather or a scatter, and twice as much for an all-reduce (the Scaling Book, chapter 3). The compiler does not estimate
the time. Here it follows from the published speed of the links of one axis of the torus, plus a microsecond per hop.
"""

import math
import re
from collections.abc import Callable
from typing import NamedTuple

from grpo_jax.planning.chips import Chip
from grpo_jax.planning.hlo import Instruction

HOP_SECONDS = 1e-6


class Traffic(NamedTuple):
    """One execution of a collective operation."""

    kind: str
    channel: int  # the same for all parts of one operation
    bytes: int  # of the whole array that is gathered, summed or scattered, on one chip
    seconds: float


# (n chips) -> (the share of the whole array that passes through a chip, the number of consecutive hops)
_RINGS: dict[str, Callable[[int], tuple[float, float]]] = {
    "all-gather": lambda n: ((n - 1) / n, n / 2),
    "reduce-scatter": lambda n: ((n - 1) / n, n / 2),
    "all-reduce": lambda n: (2 * (n - 1) / n, n),
    "all-to-all": lambda n: (n / 8, n / 2),
    "collective-permute": lambda n: (2.0, 1),  # one neighbour, one direction
}


def traffic(instruction: Instruction, chip: Chip) -> Traffic | None:
    """Return the traffic of an instruction; None if it sends nothing."""
    kind = instruction.opcode.removesuffix("-start")
    if kind not in _RINGS:
        return None
    n, channel = _participants(instruction.text), _channel(instruction)
    sizes = [shape.bytes for shape in instruction.shapes]
    whole = max(sizes) if instruction.opcode.endswith("-start") else sum(sizes)
    whole *= n if kind == "reduce-scatter" else 1
    if n == 1:
        return Traffic(kind, channel, whole, 0.0)
    share, hops = _RINGS[kind](n)
    links = 2 if n > 2 else 1
    return Traffic(kind, channel, whole, share * whole / (links * chip.link_bandwidth) + hops * HOP_SECONDS)


def _channel(instruction: Instruction) -> int:
    found = re.search(r"channel_id=(\d+)", instruction.text)
    return int(found[1]) if found else -id(instruction)


def _participants(text: str) -> int:
    """Return the number of chips in one group, from any of the ways in which XLA writes groups."""
    if mesh := re.search(r"replica_groups=mesh\[([^\]]*)\] ?\{([^}]*)\}", text):
        sizes = dict(re.findall(r"'([^']+)'=(\d+)", mesh[1]))
        return math.prod(int(sizes[axis]) for axis in re.findall(r"'([^']+)'", mesh[2]) if axis in sizes)
    if listed := re.search(r"replica_groups=\[\d+,(\d+)\]", text):
        return int(listed[1])
    if spelled := re.search(r"replica_groups=\{\{([\d,]*)\}", text):
        return spelled[1].count(",") + 1
    return 2
