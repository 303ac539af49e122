"""The shortest time of an operation on a GPU, by the roofline: it multiplies at the peak, or moves its bytes.

XLA's compiler for GPUs estimates no cycles, and its cost analysis is not available without a GPU. So the bytes are
counted here: an operation reads its operands from memory and writes its results there, once. A fusion is one operation.
It reads only the slice of an operand of which it uses a slice, and an update in place moves only the update.
"""

import math
import re
from collections.abc import Iterator

from grpo_jax.planning.chips import Chip
from grpo_jax.planning.hlo import Computation, Instruction, Program

# They move nothing, or what they call is counted where it is.
_FREE = {"parameter", "constant", "tuple", "get-tuple-element", "bitcast", "while", "conditional", "call", "iota"}
_FREE |= {"after-all", "partition-id", "replica-id", "opt-barrier"}
# A fusion computes only those elements of their operand that are used.
_ELEMENTWISE = {"bitcast", "convert", "copy", "reshape", "transpose", "negate"}
_SLICES = {"dynamic-slice", "slice", "gather"}


def matmul_flops(instruction: Instruction, computation: Computation) -> float:
    """Return 2 x the products of a matrix product by cuBLAS, and 0 for anything else."""
    if not instruction.custom_call.startswith("__cublas"):
        return 0.0
    found = re.search(r'"lhs_contracting_dimensions":\[([^\]]*)\]', instruction.text)
    assert found
    left = computation.operands(instruction)[0].shapes[0].sizes
    return (
        2.0
        * math.prod(instruction.shapes[0].sizes)
        * math.prod(left[int(axis)] for axis in re.findall(r"\d+", found[1]))
    )


def fewest_seconds(instruction: Instruction, computation: Computation, program: Program, chip: Chip) -> float:
    """Return the time that an instruction of this computation takes at least, without collectives and attention."""
    if instruction.opcode in _FREE or instruction.opcode.endswith(("-start", "-done", "-update")):
        return 0.0
    bytes_ = moved_bytes(instruction, computation, program)
    flops = matmul_flops(instruction, computation)
    if not flops:
        return bytes_ / chip.hbm_bandwidth
    # Tensor cores take float32 as TF32, at half the speed of bfloat16.
    item = min(operand.shapes[0].item_bytes for operand in computation.operands(instruction)[:2])
    return max(flops * max(item, 2) / 2 / chip.flops, bytes_ / chip.hbm_bandwidth)


def moved_bytes(instruction: Instruction, computation: Computation, program: Program) -> int:
    """Return the bytes that an instruction of this computation reads and writes."""
    operands = [sum(shape.bytes for shape in operand.shapes) for operand in computation.operands(instruction)]
    results = [shape.bytes for shape in instruction.shapes]
    match instruction.opcode:
        case "fusion":
            fused = program.computations[instruction.called("calls")[0]]
            return sum(_fused_reads(fused, operands)) + sum(_fused_writes(fused))
        case "dynamic-slice" | "slice" | "gather":
            return 2 * sum(results)
        case "dynamic-update-slice":
            return 2 * operands[1]
        case "custom-call":  # its last result is a workspace
            return sum(operands) + sum(results[:1])
        case _:
            return sum(operands) + sum(results)


def _fused_reads(fused: Computation, operands: list[int]) -> Iterator[int]:
    for instruction in fused.instructions.values():
        if instruction.opcode == "parameter":
            whole = operands[_number(instruction)]
            yield min(whole, sum(_used_bytes(fused, instruction, whole)))


def _used_bytes(fused: Computation, value: Instruction, whole: int) -> Iterator[int]:
    """Yield the bytes of a parameter that each use of a value reads; the value is the parameter, or computed of it."""
    for user in fused.instructions.values():
        if value.name not in user.operands:
            continue
        if user.opcode in _SLICES and user.operands[0] == value.name:
            yield sum(shape.bytes for shape in user.shapes)
        elif user.opcode in _ELEMENTWISE and not user.root:
            yield from _used_bytes(fused, user, whole)
        elif user.opcode == "dynamic-update-slice" and user.operands[0] == value.name:
            yield 0  # what is not updated stays where it is
        else:
            yield whole


def _fused_writes(fused: Computation) -> Iterator[int]:
    root = fused.root
    for result in fused.operands(root) if root.opcode == "tuple" else [root]:
        while result.opcode in ("bitcast", "reshape"):
            (result,) = fused.operands(result)
        written = fused.operands(result)[1] if result.opcode == "dynamic-update-slice" else result
        yield sum(shape.bytes for shape in written.shapes)


def _number(parameter: Instruction) -> int:
    found = re.match(r"\d+", parameter.text)
    assert found
    return int(found[0])
