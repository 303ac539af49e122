"""The prompts of a training step, as a function of a cursor."""

from collections.abc import Sequence

import grain
import numpy as np

from grpo_jax.data.problem import Problem
from grpo_jax.data.tasks import Task
from grpo_jax.data.tokenizer import pad
from grpo_jax.randomness import TextStream, spread_seed
from grpo_jax.types import PromptBatch


class PromptSource:
    """Problems in an endless order that is shuffled anew every epoch.

    No iterator has to be saved: the cursor, a place in that order, is the whole state. A step stays within an epoch, so
    its problems are distinct. The last few problems of an epoch are skipped if they are too few for a step.
    """

    def __init__(self, problems: Sequence[Problem], seed: int):
        self._problems = problems
        spread = spread_seed(TextStream.PROMPT_ORDER, seed)  # Grain shuffles epoch e with seed + e
        self._order = grain.MapDataset.range(len(problems)).shuffle(seed=spread).repeat()

    def left(self, cursor: int) -> int:
        """Return the number of problems from the cursor to the end of its epoch."""
        return -cursor % len(self._problems) or len(self._problems)

    def begin(self, cursor: int, number: int) -> int:
        """Return where a step with at least this many problems begins: at the cursor, or with the next epoch."""
        left = self.left(cursor)
        return cursor if number <= left else cursor + left

    def take(self, cursor: int, number: int) -> list[Problem]:
        """Return this many problems, from the cursor on."""
        return [self._problems[self._order[place]] for place in range(cursor, cursor + number)]


def encode_prompts(task: Task, problems: Sequence[Problem]) -> PromptBatch:
    """Return problems as host arrays for the sampler."""
    tokens, lengths = pad(task.prompt_tokens(problems), task.max_prompt_tokens)
    ids = np.array([problem.id for problem in problems], np.uint32)
    return PromptBatch(ids=ids, tokens=tokens, lengths=lengths)
