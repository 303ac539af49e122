"""The protocol of tasks, as training and evaluation use them."""

import random
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from tokenizers import Tokenizer

from grpo_jax.data.problem import Problem, Split
from grpo_jax.rewards import Reward


class Task(Protocol):
    """Provides problems, writes them as tokens, and judges completions."""

    @property
    def tokenizer(self) -> Tokenizer: ...

    @property
    def stop_tokens(self) -> Sequence[int]:
        """The tokens that end a completion."""

    @property
    def max_prompt_tokens(self) -> int:
        """P, the length of the longest prompt."""

    @property
    def reward(self) -> Reward:
        """The reward, which judges completions."""

    def problems(self, split: Split, number: int = 0, *, at_most: bool = False) -> Sequence[Problem]:
        """Return the first `number` distinct problems of a split, which are always the same; 0 is all.

        Raises:
          ConfigError: if there are fewer, unless `at_most` is set. In that case fewer are returned.
        """

    def prompt_tokens(self, problems: Sequence[Problem]) -> list[list[int]]:
        """Return the token ids of each problem's prompt."""


def prompt_prefix(task: Task) -> tuple[int, ...]:
    """Return the tokens with which every prompt of a task begins, and after which it continues.

    These are the task's member `prompt_prefix`, which it need not have. They are computed once for all rows of a batch.
    """
    return tuple(getattr(task, "prompt_prefix", ()))


@runtime_checkable
class Demonstrable(Task, Protocol):
    """A task with demonstrations, from which the warm start learns."""

    @property
    def max_solution_tokens(self) -> int:
        """The length of the longest demonstration, with its stop token."""

    def demonstration(self, problem: Problem, skip_probability: float, rng: random.Random) -> str:
        """Return a right completion, in which each intermediate line is left out with this probability."""
