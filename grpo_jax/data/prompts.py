"""Where the prompts of a training step come from: a function of how many have been consumed, and of nothing else."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import grain
import numpy as np

from grpo_jax.data.problem import Problem
from grpo_jax.data.tokenizer import encode, pad
from grpo_jax.types import PromptBatch

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


class PromptSource:
    """Problems in an order that a seed shuffles anew every epoch, without end.

    There is no iterator to save: the cursor, in consumed prompts, is the whole state.
    """

    def __init__(self, problems: Sequence[Problem], seed: int):
        self._problems = problems
        self._order = grain.MapDataset.range(len(problems)).shuffle(seed=seed).repeat()

    def batch(self, cursor: int, number: int) -> list[Problem]:
        """The problems number `cursor` to `cursor + number - 1` of the run."""
        return [self._problems[self._order[cursor + index]] for index in range(number)]


def encode_prompts(tokenizer: "PreTrainedTokenizerFast", problems: Sequence[Problem], width: int) -> PromptBatch:
    """Problems as host arrays for the sampler, padded to `width` tokens."""
    tokens, lengths = pad(encode(tokenizer, [problem.prompt for problem in problems]), width)
    ids = np.array([problem.id for problem in problems], np.uint32)
    return PromptBatch(ids=ids, tokens=tokens, lengths=lengths)
