"""The verifier of chains of equations that pays for right lines, so that rewards are not only 0 and 1.

A line is read in one pass with two stacks: whatever a model writes, it takes time in proportion to its length.
"""

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import replace

from grpo_jax.rewards import last_value
from grpo_jax.rewards.verdict import Attempt, Verdict

WRONG_AT_MOST = 0.5  # a right answer is worth 1, so no number of right lines makes up for a wrong one

TOKEN = re.compile(r"[0-9]{1,18}|.", re.DOTALL)  # a longer number is two, and two that touch are no expression
PRECEDENCE: Mapping[str, int] = {"+": 1, "-": 1, "*": 2}
OPERATIONS: Mapping[str, Callable[[int, int], int]] = {"+": operator.add, "-": operator.sub, "*": operator.mul}


def verify(attempt: Attempt, *, modulus: int, judge: Callable[[Attempt], Verdict] = last_value.verify) -> Verdict:
    """Reward 1 if the completion is right, else half the share of its lines that have the gold answer's value.

    The lines are what stands between the `=` of the completion: of "8+(8+0)=8+8=5", where 6 is right modulo 10, two in
    three are right, and it is worth 1/3. A wrong answer without lines is worth 0. What is right is `judge`'s to
    say; a completion that was cut off is wrong, and its lines count.
    """
    verdict = judge(attempt)
    if verdict.right:
        return verdict
    lines = attempt.completion.split("=")
    right = sum(str(value(line, modulus)) == attempt.gold for line in lines)
    return replace(verdict, reward=WRONG_AT_MOST * right / len(lines))


def value(line: str, modulus: int) -> int | None:
    """The value modulo `modulus` of an expression of numbers, + - * and brackets; None if the line is none.

    Numbers have at most 18 digits. There are no signs and no blanks. * binds tighter; + and - go from left to right.
    """
    values: list[int] = []
    waiting = ["("]  # operators and brackets whose right-hand side is still to come; the first is round the whole line
    operand_next = True
    for token in TOKEN.findall(line + ")"):
        if not waiting:
            return None  # a bracket too many has closed the whole line
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
    """The operations that wait since the last bracket and bind at least so tightly."""
    while PRECEDENCE.get(waiting[-1], 0) >= least:
        right, left = values.pop(), values.pop()
        values.append(OPERATIONS[waiting.pop()](left, right) % modulus)
