"""Where the prompts of a training step come from: a function of how many have been consumed, and of nothing else."""

import hashlib
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
    """Batches of problems in an order that a seed shuffles anew every epoch, without end.

    There is no iterator to save: the cursor, in consumed prompts, is the whole state. No batch straddles two epochs, so
    its problems are distinct; the last few of an epoch, too few for a batch, are passed over.
    """

    def __init__(self, problems: Sequence[Problem], batch_size: int, seed: int):
        self._problems = problems
        self._batch_size = batch_size
        # Grain shuffles epoch e with seed + e, so seeds next to each other would share their orders.
        spread = int.from_bytes(hashlib.sha256(f"order of prompts {seed}".encode()).digest()[:4], "big")
        self._order = grain.MapDataset.range(len(problems)).shuffle(seed=spread).repeat()

    def batch(self, cursor: int) -> list[Problem]:
        """The problems that come after the first `cursor`, a multiple of the batch size."""
        batches_an_epoch = len(self._problems) // self._batch_size
        epoch, index = divmod(cursor // self._batch_size, batches_an_epoch)
        first = epoch * len(self._problems) + index * self._batch_size
        return [self._problems[self._order[first + place]] for place in range(self._batch_size)]


def encode_prompts(tokenizer: "PreTrainedTokenizerFast", problems: Sequence[Problem], width: int) -> PromptBatch:
    """Problems as host arrays for the sampler, padded to `width` tokens."""
    tokens, lengths = pad(encode(tokenizer, [problem.prompt for problem in problems]), width)
    ids = np.array([problem.id for problem in problems], np.uint32)
    return PromptBatch(ids=ids, tokens=tokens, lengths=lengths)
