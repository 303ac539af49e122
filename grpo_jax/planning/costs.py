"""The costs of a compiled program: operations, traffic between chips and time, with every loop counted as it runs.

* Operations are those of convolutions, into which the TPU compiler turns all matrix products, counted as in XLA's cost
  analysis, and on GPUs those of calls of cuBLAS. With every loop counted once, those of a TPU must agree with
  `cost_analysis` (`Costs.flops_once`).
* Compute time on a TPU is the number of cycles that the compiler estimated for each operation when it chose its tiles,
  divided by the chip's clock. `cost_analysis()["optimal_seconds"]` does not help: it is negative for programs with
  loops. On a GPU it is the roofline, a lower bound (grpo_jax/planning/roofline.py).
* The compilers do not know what happens inside kernels (attention). Their time is their operations over a share of the
  peak.
* For collectives see grpo_jax/planning/collectives.py. Asynchronous ones run beside the computation of the same loop
  body, so the longer of the two counts. The others stop the computation.
"""

import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from grpo_jax.json_record import JsonRecord
from grpo_jax.planning.chips import Chip
from grpo_jax.planning.collectives import traffic
from grpo_jax.planning.hlo import Computation, DataLoop, Instruction, Program, visits
from grpo_jax.planning.roofline import fewest_seconds, matmul_flops
from grpo_jax.policy.fused_attention import BLOCK

KERNEL_EFFICIENCY = 0.5  # the share of the peak that attention kernels reach: a cautious assumption
# Matrix products over [T, T] in each kernel of splash attention, and of cuDNN's attention.
KERNEL_PRODUCTS = {"fwd": 2, "dq": 3, "dkv": 4}
CUDNN_PRODUCTS = {"__cudnn$fmhaSoftmax": 2, "__cudnn$fmhaSoftmaxBackward": 5}
CUDNN_BLOCK = 128  # how many queries, and keys, a kernel of cuDNN takes at once: an assumption


@dataclass(frozen=True)
class Costs(JsonRecord):
    """The costs of one run of a program on one chip."""

    flops: float  # matrix products that the compiler sees
    flops_once: float  # the same with every loop counted once, to compare with cost_analysis
    kernel_flops: float  # matrix products inside attention kernels
    compute_seconds: float  # the compiler's cycles over the clock; on GPUs by the roofline
    kernel_seconds: float
    exposed_seconds: float  # of collectives during which nothing is computed
    collective_bytes: Mapping[str, float]  # by kind

    @property
    def seconds(self) -> float:
        return self.compute_seconds + self.kernel_seconds + self.exposed_seconds


@dataclass
class _Call:
    """A call of a computation, together with its fusions."""

    times: float
    compute: float = 0.0
    kernels: float = 0.0
    hidden: float = 0.0  # seconds of collectives that run beside the computation
    exposed: float = 0.0
    channels: set[int] = field(default_factory=set)  # an operation that is split over several fusions appears in each


def measure(program: Program, chip: Chip, dynamic: Sequence[DataLoop]) -> Costs:
    """Return the costs of a program.

    Args:
      program: compiled for this chip.
      chip: gives the speeds.
      dynamic: the loops whose count is data; see `visits`.
    """
    calls: dict[int, _Call] = {}
    flops = once = kernel_flops = 0.0
    sent: dict[str, float] = defaultdict(float)
    for visit in visits(program, dynamic):
        call = calls.setdefault(visit.call, _Call(visit.times))
        for instruction in visit.computation.instructions.values():
            products = convolution_flops(instruction, visit.computation)
            products += matmul_flops(instruction, visit.computation)
            flops, once = flops + visit.times * products, once + products
            found = traffic(instruction, visit.computation, chip)
            if found and found.channel not in call.channels:
                call.channels.add(found.channel)
                sent[found.kind] += visit.times * found.bytes
                if visit.fused or found.beside:
                    call.hidden += found.seconds
                else:
                    call.exposed += found.seconds
            if visit.fused:
                continue
            inside = kernel_products(instruction)
            kernel_flops += visit.times * inside
            if not inside:
                call.compute += _seconds(instruction, visit.computation, program, chip)
            call.kernels += inside / (KERNEL_EFFICIENCY * chip.flops)
    return Costs(
        flops=flops,
        flops_once=once,
        kernel_flops=kernel_flops,
        compute_seconds=sum(p.times * p.compute for p in calls.values()),
        kernel_seconds=sum(p.times * p.kernels for p in calls.values()),
        exposed_seconds=sum(p.times * (p.exposed + max(0.0, p.hidden - p.compute)) for p in calls.values()),
        collective_bytes=dict(sent),
    )


def _seconds(instruction: Instruction, computation: Computation, program: Program, chip: Chip) -> float:
    if chip.flops_per_cycle:
        return (instruction.cycles or 0) / chip.clock
    return fewest_seconds(instruction, computation, program, chip)


def convolution_flops(instruction: Instruction, computation: Computation) -> float:
    """Return 2 x the products of a convolution, as XLA's HloCostAnalysis counts them: without padding and holes."""
    if instruction.opcode != "convolution":
        return 0.0
    labels = re.search(r"dim_labels=(\w+)_(\w+)->(\w+)", instruction.text)
    assert labels
    left, right = (computation.instructions[name].shapes[0].sizes for name in instruction.operands)
    out = instruction.shapes[0].sizes
    spatial = [label for label in labels[1] if label.isdigit()]
    window = _window(instruction.text, len(spatial))
    positions = math.prod(
        _valid_positions(
            left[labels[1].index(label)],
            right[labels[2].index(label)],
            out[labels[3].index(label)],
            {name: values[axis] for name, values in window.items()},
        )
        for axis, label in enumerate(sorted(spatial))
    )
    groups = re.search(r"batch_group_count=(\d+)", instruction.text)
    batch = left[labels[1].index("b")] // (int(groups[1]) if groups else 1)
    return 2.0 * batch * out[labels[3].index("f")] * right[labels[2].index("i")] * positions


def kernel_products(instruction: Instruction) -> float:
    """Return 2 x the products of an attention kernel, which computes whole blocks on and below the diagonal."""
    if instruction.custom_call in CUDNN_PRODUCTS:
        scores = re.search(r'"intermediate_tensor_shape":\s*\{.*?"dimensions":\s*\[([^\]]*)\]', instruction.text)
        assert scores
        rows, heads, length, _ = (int(number) for number in re.findall(r"\d+", scores[1]))
        products, block, size = CUDNN_PRODUCTS[instruction.custom_call], CUDNN_BLOCK, instruction.shapes[0].sizes[-1]
    elif (found := re.match(r"splash_mha_(fwd|dq|dkv)", instruction.name)) and instruction.opcode == "custom-call":
        constraints = re.search(r"operand_layout_constraints=\{(.*?)\}, \w+=", instruction.text)
        queries = re.search(r"bf16\[(?:(\d+),)?(\d+),(\d+),(\d+)\]", constraints[1] if constraints else "")
        assert queries, f"{instruction.name}: the kernel's queries are not [B, heads, T, head_dim]"
        rows, heads, length, size = (int(number or 1) for number in queries.groups())  # a single row has no axis
        products, block = KERNEL_PRODUCTS[found[1]], BLOCK
    else:
        return 0.0
    blocks = -(-length // min(block, length))
    visited = (blocks + 1) / (2 * blocks)
    return 2.0 * products * rows * heads * length * length * size * visited


def _window(text: str, axes: int) -> dict[str, list[tuple[int, ...]]]:
    found = re.search(r"window=\{([^}]*)\}", text)
    given = dict(part.split("=") for part in found[1].split()) if found else {}
    defaults = {"size": (1,), "stride": (1,), "pad": (0, 0), "lhs_dilate": (1,), "rhs_dilate": (1,)}
    return {
        name: [tuple(map(int, one.split("_"))) for one in given[name].split("x")] if name in given else [default] * axes
        for name, default in defaults.items()
    }


def _valid_positions(base: int, size: int, out: int, window: dict[str, tuple[int, ...]]) -> int:
    """Return how many pairs of an output and a window position meet an input element, not padding or a hole."""
    dilation, stride = window["lhs_dilate"][0], window["stride"][0]
    at = (
        np.arange(out)[:, None] * stride - window["pad"][0] + np.arange(size)[None] * window["rhs_dilate"][0]
    )  # [out, size], in the dilated input
    return int(((at >= 0) & (at % dilation == 0) & (at // dilation < base)).sum())
