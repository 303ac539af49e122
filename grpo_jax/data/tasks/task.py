"""What training and evaluation ask of a task."""

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from grpo_jax.data.problem import Problem, Split
from grpo_jax.rewards import Reward

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


class Task(Protocol):
    """Where problems come from, how they are written as tokens, and what a completion is worth."""

    @property
    def tokenizer(self) -> "PreTrainedTokenizerFast": ...

    @property
    def stop_tokens(self) -> Sequence[int]:
        """Each of them ends a completion."""

    @property
    def max_prompt_tokens(self) -> int:
        """P: no prompt is longer."""

    @property
    def reward(self) -> Reward:
        """The judge of completions."""

    def problems(self, split: Split, number: int = 0, *, at_most: bool = False) -> Sequence[Problem]:
        """The first `number` distinct problems of a split, always the same; 0 is all that the task has.

        Raises:
          ConfigError: if there are fewer; unless `at_most` is set, then fewer are returned.
        """

    def prompt_tokens(self, problems: Sequence[Problem]) -> list[list[int]]:
        """The ids that a completion of each problem follows."""


@runtime_checkable
class Demonstrable(Task, Protocol):
    """A task that can show how it is done, which the warm start learns from."""

    @property
    def max_solution_tokens(self) -> int:
        """No demonstration is longer, its stop token included."""

    def demonstration(self, problem: Problem, skip_probability: float, rng: random.Random) -> str:
        """A right completion to learn from, each intermediate line left out with this probability."""
