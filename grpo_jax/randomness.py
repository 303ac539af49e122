"""All random numbers: every source has an entry here, and no other module makes keys or generators.

Every draw is a function of what it is for, never of when or where it is made. There are three kinds of streams, and a
stream of one kind shares nothing with one of another, because their algorithms differ:

  * `Stream`: JAX keys (Threefry). A token's key is folded from (run seed, stream, step, prompt id, sample index,
    position). So a completion sampled alone is the one that is sampled in any batch, order, slot, device or host; a run
    that was interrupted draws what it would have drawn; and evaluation cannot disturb training. Where a group shares
    noise (`sampling/noise.py`), all this holds of groups.
  * `HostStream`: NumPy generators (PCG64), of (seed, stream).
  * `TextStream`: a text that names the purpose, then its numbers, seeds Python's `random` (Mersenne Twister) or a
    library that takes a seed of its own.

A policy's first values are drawn from keys that are folded from one root: `base_policy_key`, or the stream ADAPTERS.
The root of a base policy is the seed alone, as before there were streams, because another root would change every base
policy. Its values are drawn from keys folded from (seed, count) or (seed, 1, layer, count). Streams fold the same
numbers, but draw nothing from keys of fewer than five of them. So no two draws are from one key, and
tests/test_randomness.py compares them.

Hashes of texts draw nothing and need no stream: a problem's id and split (`data/problem.py`), how ties are broken
(`rewards/ties.py`), signs and buckets of sketches (`analysis/sketch.py`). The verifier's test points are the same for
every run (`rewards/mathematics/numeric.py`, which does without JAX and so without this module).
"""

import enum
import hashlib
import random
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Key, UInt32

# Named, because a user may have set JAX's default to a faster one whose draws under `vmap` depend on the batch.
PRNG = "threefry2x32"
BRANCHING = 2**32 - 1  # in the place of a sample's index: no group has so many
ADAPTER = 2**31  # in the place of a count of `nnx.Rngs`, which stays far below


@enum.unique
class Stream(enum.IntEnum):
    """What JAX keys are for."""

    TRAINING = 0
    VALIDATION = 1
    TEST = 2
    GRADIENTS = 3  # of an analysis, which disturbs nothing
    ADAPTERS = 4  # the fresh adapters of `model.lora`


class HostStream(enum.IntEnum):
    """What NumPy generators are for.

    GROUPINGS are the numbers of INTERVALS: other ones would move published estimates of gradients, by up to half of
    their intervals, and no statistic is of both.
    """

    INTERVALS = 0  # bootstrap intervals of evaluations; NumPy makes no difference between seed and (seed, 0)
    GROUPINGS = INTERVALS  # how an analysis cuts rollouts into groups
    RESAMPLED_PROMPTS = 1  # bootstrap intervals of an analysis
    ANALYSED_PROMPTS = 3  # which prompts an analysis samples
    PAIRINGS = 4  # the arms of different prompts that an analysis compares


@enum.unique
class TextStream(enum.StrEnum):
    """What texts seed. None is the beginning of another."""

    PROBLEMS = "problems of"  # + a split: of the embedded task
    DEMONSTRATIONS = "demonstrations"  # + seed and step: of the warm start
    PROMPT_ORDER = "order of prompts"  # + seed: how training shuffles its problems
    REASONING_GYM = "reasoning_gym"  # + seed: of its generators


def generator(stream: HostStream, seed: int) -> np.random.Generator:
    """Return the NumPy generator of a stream."""
    return np.random.default_rng([seed, stream])


def text_generator(stream: TextStream, *numbers: int | str) -> random.Random:
    """Return the Python generator of a stream and whatever tells its uses apart."""
    return random.Random(" ".join([stream, *map(str, numbers)]))


def spread_seed(stream: TextStream, seed: int) -> int:
    """Return 32 bits as the seed of a library that adds small numbers to it.

    Seeds next to each other would otherwise share what it draws.
    """
    return int.from_bytes(hashlib.sha256(f"{stream} {seed}".encode()).digest()[:4], "big")


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


def base_policy_key(seed: Any) -> Key[Array, ""]:
    """Return the root of a base policy's first values."""
    return jax.random.key(seed, impl=PRNG)


def prompt_keys(key: Key[Array, ""], prompt_ids: UInt32[Array, " N"]) -> Key[Array, " N"]:
    """Return one key for each prompt, which its whole group shares."""
    return jax.vmap(lambda prompt_id: jax.random.fold_in(key, prompt_id))(prompt_ids)


def sample_key(prompt: Key[Array, ""], sample: Any) -> Key[Array, ""]:
    """Return the key of one completion of a prompt."""
    return jax.random.fold_in(prompt, sample)


def branching_key(prompt: Key[Array, ""]) -> Key[Array, ""]:
    """Return the key of the point from which a prompt's completions differ."""
    return sample_key(prompt, BRANCHING)


def token_key(sample: Key[Array, ""], position: Any) -> Key[Array, ""]:
    """Return the key of one token of a completion."""
    return jax.random.fold_in(sample, position)


def layer_keys(key: Key[Array, ""], layers: int) -> Key[Array, " layers"]:
    """Return one key for each layer's first values."""
    return jax.random.split(key, layers)


def adapter_key(layer: Key[Array, ""]) -> Key[Array, ""]:
    """Return the key of a layer's adapters. With and without them the layer's own values are the same."""
    return jax.random.fold_in(layer, ADAPTER)
