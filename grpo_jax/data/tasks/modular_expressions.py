"""Nested expressions over digits, modulo a small number: `8+(8+(4+6))=` is 6 modulo 10.

A full solution writes every reduction, `8+(8+0)=8+8=6`. Only the text after the last `=` is judged. A policy can answer
at once and be wrong, or write the lines and be right: this is a skill that reinforcement learning can elicit. With
`task.right` "derivation" the lines are required. With `task.credit` "partial" a wrong completion earns a reward for its
right lines. Tokens are characters.
"""

import math
import random
from collections.abc import Callable, Sequence
from functools import cached_property, lru_cache, partial
from typing import TypeAlias

from tokenizers import Tokenizer

from grpo_jax.config import ConfigError, ModularExpressionsConfig, agreeing, counted
from grpo_jax.data.problem import Problem, Split, split_of
from grpo_jax.data.tokenizer import EOS, character_tokenizer, encode
from grpo_jax.randomness import TextStream, text_generator
from grpo_jax.rewards import Attempt, PerAttempt, Reward, Verdict, chains
from grpo_jax.rewards.chains import OPERATIONS

Expression: TypeAlias = "int | tuple[str, Expression, Expression]"  # a digit, or (operator, left, right)

# A split is declared too small after this many draws: per requested problem (only one draw in 16 falls into the test
# split), or per possible expression if that is less in total.
DRAWS_PER_PROBLEM, DRAWS_PER_EXPRESSION = 200, 30


class ModularExpressions:
    """The embedded task, a `Task` with demonstrations. The number of operations is the difficulty."""

    def __init__(self, config: ModularExpressionsConfig):
        unknown = sorted(set(config.operators) - set(OPERATIONS))
        if unknown or not config.operators:
            raise ConfigError(f"task.operators={config.operators!r}: must be some of {' '.join(OPERATIONS)}.")
        self.config = config

    @cached_property
    def tokenizer(self) -> Tokenizer:
        return character_tokenizer("0123456789()=" + "".join(OPERATIONS))

    @property
    def stop_tokens(self) -> Sequence[int]:
        return tuple(encode(self.tokenizer, [EOS])[0])

    @cached_property  # it counts what it could not score
    def reward(self) -> Reward:
        """The reward for `right`, with partial credit if `credit` asks for it."""
        modulus = self.config.modulus
        verify: Callable[[Attempt], Verdict] = chains.last_value
        if self.config.right == "derivation":
            verify = partial(chains.derivation, modulus=modulus)
        if self.config.credit == "partial":
            return PerAttempt("partial_credit", partial(chains.partial_credit, modulus=modulus, verify=verify))
        return PerAttempt("expressions", verify)

    @property
    def max_prompt_tokens(self) -> int:
        return _equation_tokens(self.config.operations)

    @property
    def max_solution_tokens(self) -> int:
        lines = sum(_equation_tokens(left) for left in range(1, self.config.operations))
        return lines + len("6") + len([EOS])

    def problems(self, split: Split, number: int = 0, *, at_most: bool = False) -> Sequence[Problem]:
        """Return the problems of a split; see `Task.problems`."""
        number = number or self.config.train_problems
        found = draw_problems(self.config, split, number)
        if len(found) == number or (at_most and found):
            return found
        raise ConfigError(
            f"task.operations={self.config.operations}: the {split.name.lower()} split has hardly more than "
            f"{counted(len(found), 'such problem')}, but {number} {agreeing(number, 'is', 'are')} requested; raise it, "
            "or request fewer problems."
        )

    def prompt_tokens(self, problems: Sequence[Problem]) -> list[list[int]]:
        return encode(self.tokenizer, [problem.prompt for problem in problems])

    def demonstration(self, problem: Problem, skip_probability: float, rng: random.Random) -> str:
        *lines, answer = reductions(parse(problem.prompt.removesuffix("=")), self.config.modulus)
        return "=".join([line for line in lines if rng.random() >= skip_probability] + [answer])


@lru_cache(maxsize=16)  # the runs of one process ask for the same
def draw_problems(config: ModularExpressionsConfig, split: Split, number: int) -> tuple[Problem, ...]:
    """Return problems of a split: `number` of them, or fewer if the split seems to have no more."""
    rng = text_generator(TextStream.PROBLEMS, split.name)
    found: dict[str, Problem] = {}
    for _ in range(min(number * DRAWS_PER_PROBLEM, count_expressions(config) * DRAWS_PER_EXPRESSION)):
        if len(found) == number:
            break
        text = draw(rng, config.operations, config.operators, config.modulus)
        prompt = f"{text}="
        if split_of(prompt) is split and prompt not in found:  # most draws belong to another split
            found[prompt] = Problem(prompt, str(chains.value_of(text, config.modulus)))
    return tuple(found.values())


def count_expressions(config: ModularExpressionsConfig) -> int:
    """Return the number of expressions: shapes of the tree (a Catalan number) x operators x digits."""
    k = config.operations
    shapes = math.comb(2 * k, k) // (k + 1)
    return shapes * len(set(config.operators)) ** k * config.modulus ** (k + 1)


def _equation_tokens(operations: int) -> int:
    """Return the tokens of an equation: k + 1 digits, k operators, k - 1 pairs of brackets, and `=`."""
    return (operations + 1) + operations + 2 * (operations - 1) + 1


def draw(rng: random.Random, operations: int, operators: str, modulus: int) -> str:
    """Return a random expression as `render` writes it. Operations are divided uniformly between left and right."""

    def operand(operations: int) -> str:
        text = draw(rng, operations, operators, modulus)
        return f"({text})" if operations else text

    if operations == 0:
        return str(int(rng.random() * modulus))
    operator = operators[int(rng.random() * len(operators))]
    left = int(rng.random() * operations)
    return f"{operand(left)}{operator}{operand(operations - 1 - left)}"


def render(expression: Expression) -> str:
    """Return the expression as text, with brackets around every operation but the outermost."""

    def inner(expression: Expression) -> str:
        return str(expression) if isinstance(expression, int) else f"({render(expression)})"

    if isinstance(expression, int):
        return str(expression)
    operator, left, right = expression
    return f"{inner(left)}{operator}{inner(right)}"


def parse(text: str) -> Expression:
    """Return the expression of a text that `render` wrote."""
    operands: list[Expression] = []
    operators: list[str] = []
    for character in text + ")":
        if character.isdigit():
            operands.append(int(character))
        elif character in OPERATIONS:
            operators.append(character)
        elif character == ")" and operators:
            right, left = operands.pop(), operands.pop()
            operands.append((operators.pop(), left, right))
    return operands[0]


def reductions(expression: Expression, modulus: int) -> list[str]:
    """Return the lines of a full solution. Each carries out the leftmost innermost operation; the last is the value."""
    lines = []
    while not isinstance(expression, int):
        expression = _reduce_once(expression, modulus)
        lines.append(render(expression))
    return lines


def _reduce_once(expression: Expression, modulus: int) -> Expression:
    assert not isinstance(expression, int)
    operator, left, right = expression
    if not isinstance(left, int):
        return operator, _reduce_once(left, modulus), right
    if not isinstance(right, int):
        return operator, left, _reduce_once(right, modulus)
    return OPERATIONS[operator](left, right) % modulus
