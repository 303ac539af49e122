"""The cache is written in place: no step of the decode loop copies the keys and values of earlier tokens."""

import re

import numpy as np
import pytest

from grpo_jax.types import PromptBatch
from tests.policy.test_policy import make
from tests.sampling.test_sampler import COUNTER, sampler

# So large that nothing else in the loop is as large as what is cached of a layer's keys.
PROMPTS, WIDTH, ROOM, HEAD_DIM = 6, 512, 480, 64
COMPUTATION = re.compile(r"^(?:ENTRY )?%?([\w.-]+) [^\n]*\{\n(.*?)^\}", re.MULTILINE | re.DOTALL)
INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%?([\w.-]+) = \w+\[([\d,]*)\]\S* ([\w-]+)\(", re.MULTILINE)
CALLED = re.compile(r"(?:calls|to_apply|body|condition|branch_computations)=\{?%?([\w.-]+)")
COPYING = {"copy", "copy-start", "transpose", "concatenate", "pad", "gather", "select"}


def copied(program, elements):
    """Return the shapes of all arrays of so many elements or more that the decode loop of a compiled program copies.

    What happens inside a fusion is not stored, but for its result.
    """
    computations = dict(COMPUTATION.findall(program))
    fused = set(re.findall(r"fusion\(.*calls=%?([\w.-]+)", program))
    bodies = re.findall(r"body=%?([\w.-]+)", program)  # the prefill of scanned layers is a loop, too, without a ring
    waiting, found, seen = [body for body in bodies if f",{ROOM},{HEAD_DIM}]" in computations[body]], [], set()
    assert waiting
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        waiting += CALLED.findall(computations[name])
        for line in computations[name].splitlines():
            if (match := INSTRUCTION.match(line)) and (name not in fused or line.lstrip().startswith("ROOT")):
                _, shape, operation = match.groups()
                large = np.prod([int(axis) for axis in shape.split(",") if axis], dtype=int) >= elements
                if large and operation in COPYING:
                    found.append(f"{operation} [{shape}]")
    return found


def decoding(policy, group_size, lanes):
    """Return the text of the compiled sampler, and how many elements a layer's ring of keys has at least."""
    batch = PromptBatch(
        ids=np.zeros(PROMPTS, np.uint32),
        tokens=np.zeros((PROMPTS, WIDTH), np.int32),
        lengths=np.ones(PROMPTS, np.int32),
    )
    run = sampler(policy, group_size=group_size, room=ROOM, lanes_per_shard=lanes)
    text = run.lower(policy.shapes(), batch, COUNTER).compile().as_text()
    rows = lanes or PROMPTS
    return text, rows * ROOM * policy.architecture.num_kv_heads * policy.architecture.head_dim


# A lane for each completion, each group, and fewer lanes than completions.
LANES = [(1, 0), (3, 0), (2, 4)]


@pytest.mark.parametrize("scan_layers", [False, True])
@pytest.mark.parametrize(("group_size", "lanes"), LANES)
def test_no_step_copies_the_cache(group_size, lanes, scan_layers):
    program, elements = decoding(make(scan_layers=scan_layers, head_dim=HEAD_DIM), group_size, lanes)
    assert not copied(program, elements)
