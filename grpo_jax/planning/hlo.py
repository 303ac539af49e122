"""A parser for compiled programs in text form, which finds out how often each operation runs.

XLA's own `cost_analysis` counts the body of a loop once, however often it runs: a model of 28 scanned layers would cost
as much as one layer. So the optimized program is read computation by computation, and each one gets the number of
times that the loops around it run. The trip count of a loop is in its condition; if it is data, the caller gives it.
"""

import itertools
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

ITEM_BYTES = {"pred": 1, "s8": 1, "u8": 1, "s16": 2, "u16": 2, "bf16": 2, "f16": 2, "s64": 8, "u64": 8, "f64": 8}

_COMPUTATION = re.compile(r"^(?P<entry>ENTRY )?%?(?P<name>[\w.\-]+) \(.*\{$")
_INSTRUCTION = re.compile(r"^\s+(?P<root>ROOT )?%(?P<name>[\w.\-]+) = ")
_ARRAY = re.compile(r"(?P<dtype>[a-z]\w*)\[(?P<sizes>[\d,]*)\](?P<layout>\{[^{}]*\})?")
_CYCLES = re.compile(r'"estimated_cycles":"(\d+)"')
_CALLED = re.compile(r"(calls|body|condition|to_apply|branch_computations)=\{?((?:%[\w.\-]+(?:, )?)+)\}?")


class Shape(NamedTuple):
    """An array."""

    dtype: str
    sizes: tuple[int, ...]

    @property
    def item_bytes(self) -> int:
        return ITEM_BYTES.get(self.dtype, 4)

    @property
    def bytes(self) -> int:
        return math.prod(self.sizes) * self.item_bytes


@dataclass(frozen=True)
class Instruction:
    """One operation."""

    name: str
    shapes: tuple[Shape, ...]  # of the results
    opcode: str
    operands: tuple[str, ...]
    text: str  # what follows the operands
    root: bool

    @property
    def cycles(self) -> int | None:
        """The compiler's estimate of its cycles; None if there is none, as for data movement and kernels."""
        found = _CYCLES.search(self.text)
        cycles = int(found[1]) if found else 0
        return cycles if 0 < cycles < 2**50 else None

    @property
    def custom_call(self) -> str:
        """The target of a custom call; "" for any other operation."""
        found = re.search(r'custom_call_target="([^"]*)"', self.text)
        return found[1] if found and self.opcode == "custom-call" else ""

    def called(self, *attributes: str) -> list[str]:
        """Return the names of the computations under these attributes."""
        return [
            name
            for attribute, names in _CALLED.findall(self.text)
            if attribute in attributes
            for name in re.findall(r"%([\w.\-]+)", names)
        ]


@dataclass(frozen=True)
class Computation:
    """A list of instructions, by their names."""

    name: str
    instructions: dict[str, Instruction] = field(default_factory=dict)

    @property
    def root(self) -> Instruction:
        return next(i for i in self.instructions.values() if i.root)

    def operands(self, instruction: Instruction) -> list[Instruction]:
        """Return the instructions whose results an instruction of this computation takes."""
        return [self.instructions[name] for name in instruction.operands]


@dataclass(frozen=True)
class Program:
    """A compiled program."""

    computations: dict[str, Computation]
    entry: str


class Visit(NamedTuple):
    """A computation, how often it runs, and whether it is inside a fusion, which is timed as one operation."""

    computation: Computation
    times: float
    fused: bool
    call: int  # the number of the call; a computation and its fusions share it


def parse(text: str) -> Program:
    """Parse `compiled.as_text()`."""
    computations: dict[str, Computation] = {}
    current, entry = Computation(""), ""
    for line in text.splitlines():
        if found := _COMPUTATION.match(line):
            current = computations[found["name"]] = Computation(found["name"])
            entry = found["name"] if found["entry"] else entry
        elif found := _INSTRUCTION.match(line):
            instruction = _instruction(found["name"], line[found.end() :], bool(found["root"]))
            current.instructions[instruction.name] = instruction
    return Program(computations, entry)


@dataclass(frozen=True)
class DataLoop:
    """A loop whose trip count is data, and the loops of that kind in its body."""

    trips: float
    inner: Sequence["DataLoop"] = ()


def visits(program: Program, dynamic: Sequence[DataLoop]) -> Iterator[Visit]:
    """Yield every computation that runs, once for each call.

    Args:
      program: the parsed program.
      dynamic: the loops of the entry computation whose count is data, in their order; the last one stands for all
        that follow.
    """
    calls = itertools.count()

    def visit(name: str, times: float, call: int | None, loops: Sequence[DataLoop]) -> Iterator[Visit]:
        met = 0
        computation = program.computations[name]
        here = next(calls) if call is None else call
        yield Visit(computation, times, call is not None, here)
        for instruction in computation.instructions.values():
            if instruction.opcode == "while":
                counted = trip_count(program, computation, instruction)
                if counted is None:
                    loop = loops[min(met, len(loops) - 1)]
                    met, trips, inner = met + 1, loop.trips, loop.inner
                else:
                    trips, inner = counted, loops
                for called in instruction.called("body", "condition"):
                    yield from visit(called, times * trips, None, inner)
            elif instruction.opcode in ("fusion", "call", "conditional", "async-start"):
                within = here if instruction.opcode == "fusion" else call
                for called in instruction.called("calls", "to_apply", "branch_computations"):
                    yield from visit(called, times, within, loops)

    yield from visit(program.entry, 1.0, None, dynamic)


def trip_count(program: Program, around: Computation, loop: Instruction) -> int | None:
    """Return the trip count of a loop that counts from a constant to a constant; None for any other loop."""
    if known := re.search(r'"known_trip_count":\{"n":"(\d+)"', loop.text):  # as the compiler for GPUs writes it
        return int(known[1])
    condition = program.computations[loop.called("condition")[0]]
    test = condition.root
    if test.opcode != "compare" or "direction=LT" not in test.text:
        return None
    counter, limit = (condition.instructions[name] for name in test.operands)
    if counter.opcode != "get-tuple-element" or limit.opcode != "constant":
        return None
    index = _index(counter)
    body = program.computations[loop.called("body")[0]]
    step = _step(body, body.instructions[body.root.operands[index]])
    state = around.instructions[loop.operands[0]]
    start = _constant(around.instructions[state.operands[index]]) if state.opcode == "tuple" else 0
    return -(-(_constant(limit) - start) // step)


def _instruction(name: str, rest: str, root: bool) -> Instruction:
    shape, rest = _split_shape(rest)
    opcode, _, rest = rest.partition("(")
    depth, end = 1, 0
    for end, character in enumerate(rest):  # noqa: B007 - the position is what is looked for
        depth += (character == "(") - (character == ")")
        if not depth:
            break
    inside = rest[:end]
    operands = tuple(re.findall(r"%([\w.\-]+)", inside))
    text = inside + rest[end:] if opcode in ("constant", "parameter") else rest[end + 1 :]
    return Instruction(name, tuple(_shapes(shape)), opcode, operands, text, root)


def _split_shape(rest: str) -> tuple[str, str]:
    """Return the result's type, which is one word or a bracket, and the rest of the line."""
    if not rest.startswith("("):
        shape, _, rest = rest.partition(" ")
        return shape, rest
    depth = 0
    for position, character in enumerate(rest):
        depth += (character == "(") - (character == ")")
        if not depth:
            return rest[: position + 1], rest[position + 2 :]
    raise ValueError(f"a line of the compiled program has an open bracket: {rest[:80]}")


def _shapes(text: str) -> Iterator[Shape]:
    for found in _ARRAY.finditer(text):
        sizes = tuple(int(size) for size in found["sizes"].split(",") if size)
        yield Shape(found["dtype"], sizes)


def _index(instruction: Instruction) -> int:
    found = re.search(r"index=(\d+)", instruction.text)
    assert found
    return int(found[1])


def _constant(instruction: Instruction) -> int:
    """Return the value of a constant, and 0 for anything else, since loops of JAX and of the compiler start at 0."""
    found = re.match(r"-?\d+", instruction.text)
    return int(found[0]) if instruction.opcode == "constant" and found else 0


def _step(body: Computation, following: Instruction) -> int:
    if following.opcode != "add":
        return 1
    return max((_constant(body.instructions[name]) for name in following.operands), default=1) or 1
