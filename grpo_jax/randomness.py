"""All random numbers: this module lists every source of them, and no other module makes keys or generators.

Every draw depends on its purpose alone, never on when or where it is made. There are three kinds of streams. Streams of
different kinds are independent, because their algorithms differ:

  * `Stream`: JAX keys (Threefry). A token's key is folded from (run seed, stream, step, prompt id, sample index,
    position). So a completion is the same in every batch, order, slot, device and host, and if it is sampled alone; an
    interrupted run continues with the same draws; and evaluation cannot disturb training. If a group shares noise
    (`sampling/noise.py`), all this holds for whole groups.
  * `HostStream`: NumPy generators (PCG64), seeded by (seed, stream).
  * `TextStream`: a text, the purpose followed by numbers, seeds Python's `random` (Mersenne Twister) or a library that
    takes a seed of its own.

A policy's initial values are drawn from keys that are folded from one root: `base_policy_key`, or the stream ADAPTERS.
For historical reasons the root of a base policy is the seed alone; another root would change every base policy. Its
values are drawn from keys folded from (seed, count) or (seed, 1, layer, count). Streams fold the same numbers, but draw
only from keys of at least five of them. So no two draws use the same key, and tests/test_randomness.py compares them.

Hashes of texts draw nothing and need no stream: a problem's id and split (`data/problem.py`), the breaking of ties
(`rewards/terms.py`), signs and buckets of sketches (`analysis/sketch.py`). The verifier's test points are the same for
every run (`rewards/mathematics/numeric.py`, which does not import JAX and so cannot use this module).
"""

import enum
import hashlib
import random
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key, UInt32

# Set explicitly, because a user may have set a faster default in JAX, whose draws under `vmap` depend on the batch.
PRNG = "threefry2x32"
BRANCHING = 2**32 - 1  # in place of a sample's index: no group is that large
ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))  # of Threefry-2x32
ADAPTER = 2**31  # in place of a count of `nnx.Rngs`, which stays far below


@enum.unique
class Stream(enum.IntEnum):
    """Purposes of JAX keys."""

    TRAINING = 0
    VALIDATION = 1
    TEST = 2
    GRADIENTS = 3  # rollouts of a gradient analysis
    ADAPTERS = 4  # initial values of the adapters of `model.lora`


class HostStream(enum.IntEnum):
    """Purposes of NumPy generators.

    GROUPINGS uses the same numbers as INTERVALS. Other numbers would move published estimates of gradients by up to
    half of their intervals, and no statistic uses both.
    """

    INTERVALS = 0  # bootstrap intervals of evaluations; for NumPy seed and (seed, 0) are the same
    GROUPINGS = INTERVALS  # how an analysis cuts rollouts into groups
    RESAMPLED_PROMPTS = 1  # bootstrap intervals of an analysis
    ANALYSED_PROMPTS = 3  # which prompts an analysis samples
    PAIRINGS = 4  # the arms of different prompts that an analysis compares


@enum.unique
class TextStream(enum.StrEnum):
    """Purposes of texts that seed generators. None is a prefix of another."""

    PROBLEMS = "problems of"  # + a split: of the embedded task
    DEMONSTRATIONS = "demonstrations"  # + seed and step: of the warm start
    TRIED = "tried by a reward"  # + prompt: demonstrations by which the doctor tries a reward
    PROMPT_ORDER = "order of prompts"  # + seed: how training shuffles its problems
    REASONING_GYM = "reasoning_gym"  # + seed: of its generators
    SELECTION = "selection of prompts"  # + seed, step and cursor
    SERVED = "served"  # + seed, stream, step, prompt id and sample index: of completions that a server samples


def generator(stream: HostStream, seed: int) -> np.random.Generator:
    """Return the NumPy generator of a stream."""
    return np.random.default_rng([seed, stream])


def text_generator(stream: TextStream, *numbers: int | str) -> random.Random:
    """Return the Python generator of a stream for these numbers, which tell its uses apart."""
    return random.Random(" ".join([stream, *map(str, numbers)]))


def spread_seed(stream: TextStream, *numbers: int) -> int:
    """Return a seed of 32 bits for a library, for these numbers.

    It is a hash, because a library may add small numbers to its seed, and neighbouring seeds would share draws.
    """
    text = " ".join([stream, *map(str, numbers)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Counter:
    """A place in a run at which completions are sampled. Its fields are arguments of jitted programs."""

    seed: UInt32[Any, ""]
    stream: UInt32[Any, ""]
    step: UInt32[Any, ""]

    @staticmethod
    def of(seed: int, stream: Stream, step: int) -> "Counter":
        return Counter(*(np.asarray(number, np.uint32) for number in (seed, stream, step)))

    def key(self) -> Key[Array, ""]:
        """Return the key of all samples of this step and stream."""
        return jax.random.fold_in(jax.random.fold_in(jax.random.key(self.seed, impl=PRNG), self.stream), self.step)


def base_policy_key(seed: Any) -> Key[Array, ""]:
    """Return the root key of a base policy's initial values."""
    return jax.random.key(seed, impl=PRNG)


def prompt_keys(key: Key[Array, ""], prompt_ids: UInt32[Array, " N"]) -> Key[Array, " N"]:
    """Return a key for each prompt, which its whole group shares."""
    return jax.vmap(lambda prompt_id: jax.random.fold_in(key, prompt_id))(prompt_ids)


def sample_key(prompt: Key[Array, ""], sample: Any) -> Key[Array, ""]:
    """Return the key of one completion of a prompt."""
    return _fold_in(prompt, sample)


def branching_key(prompt: Key[Array, ""]) -> Key[Array, ""]:
    """Return the key that draws the position from which a prompt's completions differ."""
    return sample_key(prompt, BRANCHING)


def token_key(sample: Key[Array, ""], position: Any) -> Key[Array, ""]:
    """Return the key of one token of a completion."""
    return _fold_in(sample, position)


def random_bits(key: Key[Array, ""], size: int) -> UInt32[Array, " {size}"]:
    """Return random bits: those of `jax.random.bits(key, (size,))`, without a loop; see `_threefry`."""
    high, low = _threefry(jax.random.key_data(key), jnp.uint32(0), jnp.arange(size, dtype=jnp.uint32))
    return high ^ low


def layer_keys(key: Key[Array, ""], layers: int) -> Key[Array, " layers"]:
    """Return a key for each layer's initial values."""
    return jax.random.split(key, layers)


def adapter_key(layer: Key[Array, ""]) -> Key[Array, ""]:
    """Return the key of a layer's adapters. The layer's other values are the same with and without them."""
    return jax.random.fold_in(layer, ADAPTER)


def _fold_in(key: Key[Array, ""], number: Any) -> Key[Array, ""]:
    """Return `jax.random.fold_in(key, number)`, without a loop; see `_threefry`."""
    words = _threefry(jax.random.key_data(key), jnp.uint32(0), jnp.asarray(number, jnp.uint32))
    return jax.random.wrap_key_data(jnp.stack(words), impl=PRNG)


@partial(jax.jit, inline=True)  # it is traced once for each shape, not at each use
def _threefry(key: UInt32[Array, "2"], *counter: UInt32[Array, "*shape"]) -> tuple[UInt32[Array, "*shape"], ...]:
    """Encrypt two words by Threefry-2x32 with 20 rounds (Salmon et al., 2011), all of which the compiler can fuse.

    On CPUs JAX makes a loop of the rounds, which compiles faster, but every operation of the loop is a call. Without it
    a rollout of a small decoder took 0 to 4 % less time, and 2 to 15 % less with lanes (docs/performance.md).
    """
    words = (*key, key[0] ^ key[1] ^ np.uint32(0x1BD11BDA))
    left, right = counter[0] + words[0], counter[1] + words[1]
    for group in range(5):
        for distance in ROTATIONS[group % 2]:
            left = left + right
            right = left ^ (right << distance | right >> (32 - distance))
        left = left + words[(group + 1) % 3]
        right = right + words[(group + 2) % 3] + np.uint32(group + 1)
    return left, right
