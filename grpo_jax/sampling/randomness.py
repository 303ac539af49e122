"""Keys by counter: every random draw is a function of what it is for, never of when or where it is made.

A token's key is folded from (run seed, stream, step, prompt id, sample index, position). So a completion sampled alone
is the one that is sampled in any batch, order, slot, device or host; a run that was interrupted draws what it would
have drawn; and evaluation cannot disturb training. Where a group shares noise (`noise.py`), all this holds of groups.
"""

import enum
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Key, UInt32

# Named, because a user may have set JAX's default to a faster one whose draws under `vmap` depend on the batch.
PRNG = "threefry2x32"


@enum.unique
class Stream(enum.IntEnum):
    """What randomness is for. Two streams never share a key."""

    TRAINING = 0
    VALIDATION = 1
    TEST = 2
    GRADIENTS = 3  # of an analysis, which disturbs nothing
    ADAPTERS = 4  # the fresh adapters of `model.lora`


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Counter:
    """Where in a run something is sampled. Plain numbers, so that a jitted program can be given another step."""

    seed: UInt32[Any, ""]
    stream: UInt32[Any, ""]
    step: UInt32[Any, ""]

    @staticmethod
    def of(seed: int, stream: Stream, step: int) -> "Counter":
        return Counter(*(np.asarray(number, np.uint32) for number in (seed, stream, step)))

    def key(self) -> Key[Array, ""]:
        """The key of everything that this step of this stream samples."""
        return jax.random.fold_in(jax.random.fold_in(jax.random.key(self.seed, impl=PRNG), self.stream), self.step)


def prompt_keys(key: Key[Array, ""], prompt_ids: UInt32[Array, " N"]) -> Key[Array, " N"]:
    """One key for each prompt, which its whole group shares."""
    return jax.vmap(lambda prompt_id: jax.random.fold_in(key, prompt_id))(prompt_ids)


def sample_key(prompt: Key[Array, ""], sample: Any) -> Key[Array, ""]:
    """The key of one completion of a prompt."""
    return jax.random.fold_in(prompt, sample)
