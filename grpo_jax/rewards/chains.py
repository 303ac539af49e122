"""Verifiers of chains of equations, such as "8+(8+(4+6))=8+(8+0)=8+8=6" modulo 10.

A line is read in one pass with two stacks, so the time is linear in its length, whatever a model writes.
"""

import operator
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import pairwise

from grpo_jax.rewards.verdict import Attempt, Verdict

WRONG_AT_MOST = 0.5  # a right answer is worth 1, so no number of right lines makes up for a wrong one

TOKEN = re.compile(r"[0-9]{1,18}|.", re.DOTALL)  # a longer number is two, and two that touch are not an expression
PRECEDENCE: Mapping[str, int] = {"+": 1, "-": 1, "*": 2}
OPERATIONS: Mapping[str, Callable[[int, int], int]] = {"+": operator.add, "-": operator.sub, "*": operator.mul}
INNERMOST = re.compile(r"\(([0-9]+)([-+*])([0-9]+)\)")  # an operation on two numbers, in brackets
OUTERMOST = re.compile(r"([0-9]+)([-+*])([0-9]+)")  # the last one has none


def last_value(attempt: Attempt) -> Verdict:
    """Return reward 1 if the chain ends in the gold answer and the model itself ended it, else 0.

    A prompt looks like "8+(8+(4+6))=", a completion like "8+(8+0)=8+8=6". A completion that was cut off at the maximum
    length has no answer, and is wrong.
    """
    answer = (attempt.prompt + attempt.completion).rpartition("=")[2] if attempt.stopped else None
    right = answer == attempt.gold
    return Verdict(reward=float(right), answer=answer, right=right)


def derivation(attempt: Attempt, *, modulus: int) -> Verdict:
    """Return reward 1 if the answer is right and each line carries out one operation of the line before it, else 0.

    The first line starts from the prompt: for "8+(8+(4+6))=" only "8+(8+0)=8+8=6" is right modulo 10. If two operations
    could be next, either is right. A repeated line ("6=6=6") carries out none. A guessed answer is right in one of
    `modulus` cases, which limits how hard problems can be; a guessed derivation hardly ever is.
    """
    verdict = last_value(attempt)
    lines = [attempt.prompt.removesuffix("="), *attempt.completion.split("=")]
    derived = all(after in _reductions(before, modulus) for before, after in pairwise(lines))
    right = bool(verdict.right) and derived
    return replace(verdict, reward=float(right), right=right)


def partial_credit(attempt: Attempt, *, modulus: int, verify: Callable[[Attempt], Verdict] = last_value) -> Verdict:
    """Return reward 1 if `verify` finds the completion right, else half the share of its lines that are right.

    A line is right if it has the gold answer's value. Lines stand between the `=` of the completion: two of the three
    lines in "8+(8+0)=8+8=5" are right if the answer is 6 (modulo 10), so it is worth 1/3. A wrong answer without
    lines is worth 0. A completion that was cut off is wrong, but its lines count.
    """
    verdict = verify(attempt)
    if verdict.right:
        return verdict
    lines = attempt.completion.split("=")
    right = sum(str(value_of(line, modulus)) == attempt.gold for line in lines)
    return replace(verdict, reward=WRONG_AT_MOST * right / len(lines))


def value_of(line: str, modulus: int) -> int | None:
    """Return the value modulo `modulus` of an expression of numbers, + - * and brackets; None for any other line.

    Numbers have at most 18 digits. There are no signs and no blanks. * binds tighter; + and - go from left to right.
    """
    values: list[int] = []
    waiting = ["("]  # operators and brackets whose right-hand side is still to come; the first is round the whole line
    operand_next = True
    for token in TOKEN.findall(line + ")"):
        if not waiting:
            return None  # a surplus bracket has closed the whole line
        if operand_next:
            if token == "(":
                waiting.append(token)
            elif token[0] in "0123456789":
                values.append(int(token) % modulus)
                operand_next = False
            else:
                return None
        elif token == ")":
            _carry_out(values, waiting, 1, modulus)
            waiting.pop()
        elif token in PRECEDENCE:
            _carry_out(values, waiting, PRECEDENCE[token], modulus)
            waiting.append(token)
            operand_next = True
        else:
            return None
    return None if waiting else values[0]


def _carry_out(values: list[int], waiting: list[str], least: int, modulus: int) -> None:
    """Compute the waiting operations since the last bracket that bind at least as tightly as `least`."""
    while PRECEDENCE.get(waiting[-1], 0) >= least:
        right, left = values.pop(), values.pop()
        values.append(OPERATIONS[waiting.pop()](left, right) % modulus)


def _reductions(line: str, modulus: int) -> Iterator[str]:
    """Yield the lines that follow from this one by carrying out one operation on two numbers."""
    if whole := OUTERMOST.fullmatch(line):
        yield _result(whole, modulus)
    for found in INNERMOST.finditer(line):
        yield line[: found.start()] + _result(found, modulus) + line[found.end() :]


def _result(operation: re.Match[str], modulus: int) -> str:
    left, sign, right = operation.groups()
    return str(OPERATIONS[sign](int(left), int(right)) % modulus)
