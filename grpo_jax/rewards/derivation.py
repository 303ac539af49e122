"""The verifier of chains of equations that wants the derivation, and not the answer alone."""

import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

from grpo_jax.rewards import last_value
from grpo_jax.rewards.partial_credit import OPERATIONS
from grpo_jax.rewards.verdict import Attempt, Verdict

INNERMOST = re.compile(r"\(([0-9]+)([-+*])([0-9]+)\)")  # an operation on two numbers, in brackets
OUTERMOST = re.compile(r"([0-9]+)([-+*])([0-9]+)")  # the last one has none


def verify(attempt: Attempt, *, modulus: int) -> Verdict:
    """Return right if the answer is and each line carries out one operation of the line before, the prompt's first.

    Of "8+(8+(4+6))=" only "8+(8+0)=8+8=6" is right modulo 10, since each line has one operation less. Where two
    operations could be next, either may be. A guess of the answer is right in one of `modulus` cases, so it bounds how
    hard problems can be; a guess of a derivation is not, and a line that is repeated ("6=6=6") is none.
    """
    verdict = last_value.verify(attempt)
    lines = [attempt.prompt.removesuffix("="), *attempt.completion.split("=")]
    derived = all(after in _reductions(before, modulus) for before, after in pairwise(lines))
    right = bool(verdict.right) and derived
    return replace(verdict, reward=float(right), right=right)


def _reductions(line: str, modulus: int) -> Iterator[str]:
    """What a line may become by carrying out one operation whose operands are numbers."""
    if whole := OUTERMOST.fullmatch(line):
        yield _value(whole, modulus)
    for found in INNERMOST.finditer(line):
        yield line[: found.start()] + _value(found, modulus) + line[found.end() :]


def _value(operation: re.Match[str], modulus: int) -> str:
    left, operator, right = operation.groups()
    return str(OPERATIONS[operator](int(left), int(right)) % modulus)
