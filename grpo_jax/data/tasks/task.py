"""What training and evaluation ask of a task."""

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from grpo_jax.data.problem import Problem, Split
from grpo_jax.rewards import Verdict

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
    def max_solution_tokens(self) -> int:
        """C is at least this: no demonstration is longer, its stop token included."""

    def problems(self, split: Split, number: int, *, at_most: bool = False) -> Sequence[Problem]:
        """The first `number` distinct problems of a split, always the same.

        Raises:
          ConfigError: if there are fewer; unless `at_most` is set, then fewer are returned.
        """

    def verify(self, problem: Problem, completion: str, stopped: bool) -> Verdict:
        """What a completion (its text, without the stop token) is worth."""

    def demonstration(self, problem: Problem, skip_probability: float, rng: random.Random) -> str:
        """A right completion to learn from, each intermediate line left out with this probability."""
