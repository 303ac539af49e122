"""Compare ways to draw a token: how often rounding changes it, and how much processor time a draw takes.

    python benchmarks/noise.py [--vocab 50257 152064] [--draws=1000000] [--rows=32] [--repetitions=10]

Compares Gumbel noise for the whole vocabulary, Gumbel noise in two levels (`grpo_jax/sampling/choice.py`), and the
inversion of the cumulative distribution in the same two levels, by one uniform number or by one for each level. Prints
how many of a million tokens change

  * if every logit is off by about 1e-6 of itself: computed with sums one after the other, and counted among the draws
    of the code itself, whose sums XLA takes;
  * if only sums are taken in another order: computed for NumPy's order and XLA's.

With Gumbel noise, draws of p and q agree on token i with probability 1 / sum over j of max(p_j / p_i, q_j / q_i). With
uniform numbers, they agree where the token's intervals overlap.
"""

import argparse
import statistics
import sys
from collections.abc import Callable, Sequence
from functools import partial
from types import ModuleType
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from alternation import in_turn, several
from jaxtyping import Array, Float, Int

from grpo_jax.randomness import Counter, Stream, prompt_keys
from grpo_jax.sampling.choice import BLOCK, draw, noise_size
from grpo_jax.sampling.noise import independent

ERROR = 1e-6  # of logits, relative
AT_ONCE = 10_000  # draws that are counted


def whole(logits: Float[Array, "*batch V"], noise: Float[Array, "*batch V"]) -> Int[Array, "*batch"]:
    """Draw tokens by noise for every token."""
    return jnp.argmax(jax.nn.log_softmax(logits, axis=-1) + noise, axis=-1)


def in_two_levels(logits: Float[Array, "*batch V"], noise: Float[Array, "*batch size"]) -> Int[Array, "*batch"]:
    """Draw tokens as the sampler does."""
    return draw(logits, noise)[0]


def inverse(logits: Float[Array, "*batch V"], noise: Float[Array, "*batch numbers"]) -> Int[Array, "*batch"]:
    """Draw tokens by one or two uniform numbers each: find the block, then the token in it."""
    blocks = -(-logits.shape[-1] // BLOCK)
    missing = [(0, 0)] * (logits.ndim - 1) + [(0, BLOCK * blocks - logits.shape[-1])]
    by_block = jnp.pad(logits, missing, constant_values=-jnp.inf).reshape(*logits.shape[:-1], BLOCK, blocks)
    weights = jnp.exp(by_block - by_block.max(axis=(-2, -1), keepdims=True))
    mass = weights.sum(axis=-2)
    ends = jnp.cumsum(mass, axis=-1)
    uniform = jnp.exp(-jnp.exp(-noise))
    target = uniform[..., :1] * ends[..., -1:]
    block = jnp.minimum((ends <= target).sum(axis=-1), blocks - 1)[..., None]
    inside = jnp.cumsum(jnp.take_along_axis(weights, block[..., None, :], axis=-1)[..., 0], axis=-1)
    rest = target - jnp.take_along_axis(ends - mass, block, axis=-1)
    if noise.shape[-1] == 2:
        rest = uniform[..., 1:] * inside[..., -1:]
    row = jnp.minimum((inside <= rest).sum(axis=-1), BLOCK - 1)
    return row * blocks + block[..., 0]


class Sums(NamedTuple):
    """The float32 numbers by which tokens are drawn, from some logits and with sums in some order."""

    logprobs: np.ndarray  # [V]
    weights: np.ndarray  # [blocks, BLOCK]
    mass: np.ndarray  # [blocks]
    ends: np.ndarray  # [blocks], cumulative
    inside: np.ndarray  # [blocks, BLOCK], cumulative in each block

    @staticmethod
    def of(logits: np.ndarray, xp: ModuleType) -> "Sums":
        """Take the sums in the order of a library, `np` or `jnp`."""
        blocks = -(-len(logits) // BLOCK)
        weights = np.zeros(blocks * BLOCK, np.float32)
        weights[: len(logits)] = np.exp(logits - logits.max())
        weights = np.ascontiguousarray(weights.reshape(BLOCK, blocks).T)
        mass = np.asarray(xp.sum(weights, -1))
        logprobs = logits - logits.max() - np.log(np.asarray(xp.sum(np.exp(logits - logits.max()))))
        return Sums(logprobs, weights, mass, *(np.asarray(xp.cumsum(each, -1)) for each in (mass, weights)))


def gumbel_agreement(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Return for each token the probability that Gumbel noise draws it from p and from q, which need no normalising."""
    p, q = (each.astype(np.float64) / each.sum(dtype=np.float64) for each in (p, q))
    gain = np.divide(q, p, out=np.ones_like(p), where=p > 0)
    order = np.argsort(-gain)
    excess = np.cumsum(q[order]) / gain[order] - np.cumsum(p[order])  # sum over j of max(p_j, q_j p_i / q_i), minus 1
    agreement = np.empty_like(p)
    agreement[order] = p[order] / (1 + np.maximum(excess, 0))
    return agreement


def whole_changes(one: Sums, other: Sums) -> float:
    """Return the probability that noise for every token draws another one."""
    return 1 - gumbel_agreement(*(np.exp(sums.logprobs.astype(np.float64)) for sums in (one, other))).sum()


def two_level_changes(one: Sums, other: Sums) -> float:
    """Return the probability that noise in two levels draws another token."""
    inside = [gumbel_agreement(p, q).sum() for p, q in zip(one.weights, other.weights, strict=True)]
    return 1 - (gumbel_agreement(one.mass, other.mass) * inside).sum()


def overlaps(ends: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return how far intervals overlap that follow one another, after both rows of them are stretched to length 1."""
    ends, others = (np.maximum.accumulate(each.astype(np.float64), -1) / each[..., -1:] for each in (ends, others))
    starts, other_starts = (np.insert(each[..., :-1], 0, 0, axis=-1) for each in (ends, others))
    return np.maximum(np.minimum(ends, others) - np.maximum(starts, other_starts), 0)


def one_number_changes(one: Sums, other: Sums) -> float:
    """Return the probability that one uniform number draws another token."""

    def ends(sums: Sums) -> np.ndarray:
        found = np.minimum((sums.ends - sums.mass)[:, None] + sums.inside.astype(np.float64), sums.ends[:, None])
        found[:, -1] = sums.ends
        return found.ravel()

    return 1 - overlaps(ends(one), ends(other)).sum()


def two_number_changes(one: Sums, other: Sums) -> float:
    """Return the probability that a uniform number for each level draws another token."""
    return 1 - (overlaps(one.ends, other.ends) * overlaps(one.inside, other.inside).sum(-1)).sum()


class Way(NamedTuple):
    """A way to draw tokens."""

    draw: Callable[[Array, Array], Array]
    size: Callable[[int], int]  # of its noise, by that of the vocabulary
    changes: Callable[[Sums, Sums], float]


WAYS = {
    "Gumbel, whole": Way(whole, lambda vocab: vocab, whole_changes),
    "Gumbel, two levels": Way(in_two_levels, noise_size, two_level_changes),
    "inverse, one number": Way(inverse, lambda vocab: 1, one_number_changes),
    "inverse, two numbers": Way(inverse, lambda vocab: 2, two_number_changes),
}


def distributions(vocab: int) -> dict[str, np.ndarray]:
    """Return logits by name. The likeliest tokens come first, as in most vocabularies."""
    zipf = -np.log(np.arange(1, vocab + 1))
    sharp = np.where(np.arange(vocab) == 0, np.log(9 * np.exp(zipf[1:]).sum()), zipf)
    found = {"flat": 0.1 * np.cos(np.arange(vocab)), "Zipf": zipf, "Zipf and one token of 90 %": sharp}
    return {name: logits.astype(np.float32) for name, logits in found.items()}


def noise(size: int, rows: int, step: Int[Array, ""] | int) -> Float[Array, "rows size"]:
    """Return Gumbel noise for each of some rows."""
    keys = prompt_keys(Counter.of(0, Stream.TRAINING, 0).key(), jnp.arange(rows, dtype=jnp.uint32))
    return jax.vmap(lambda key: independent(key, jnp.int32(0), jnp.asarray(step), size, 1))(keys)


def counted(way: Way, logits: np.ndarray, off: np.ndarray, draws: int) -> int:
    """Return how many of some draws give another token if the logits are off."""

    @jax.jit
    def changed(logits: Array, off: Array, step: Int[Array, ""]) -> Int[Array, ""]:
        given = noise(way.size(len(logits)), AT_ONCE, step)
        one, other = (jax.vmap(lambda row, of=of: way.draw(of, row))(given) for of in (logits, off))
        return (one != other).sum()

    return sum(int(changed(logits, off, step)) for step in range(draws // AT_ONCE))


def print_changes(vocab: int, draws: int) -> None:
    """Print how many of a million tokens change, for each distribution and way."""
    for name, logits in distributions(vocab).items():
        error = np.random.default_rng(0).normal(size=vocab)
        off = (logits * (1 + ERROR * error)).astype(np.float32)
        plain, moved, reordered = Sums.of(logits, np), Sums.of(off, np), Sums.of(logits, jnp)
        for label, way in WAYS.items():
            found = [1e6 * way.changes(plain, other) for other in (moved, reordered)]
            seen = f"{counted(way, logits, off, draws) * 1e6 / draws:.1f}" if way.draw is not whole else "-"
            print(f"{name}, {label}: {found[0]:.3g} (counted {seen}) by logits, {found[1]:.3g} by order", flush=True)


def print_times(vocab: int, rows: int, repetitions: int) -> None:
    """Print the processor time of a draw, the ways measured in turn."""
    logits = jax.random.normal(jax.random.key(0), (rows, vocab))
    programs = {
        label: jax.jit(lambda logits, step, way=way: way.draw(logits, noise(way.size(vocab), rows, step)))
        for label, way in WAYS.items()
    }
    runs = {label: partial(program, logits) for label, program in programs.items()}
    for label, spent in in_turn(runs, repetitions).items():
        low, middle, high = statistics.quantiles([run.cpu / rows for run in spent], n=4, method="inclusive")
        print(f"{label}: {middle:.3f} ms of processor time a token, quartiles {low:.3f} and {high:.3f}")


def main(argv: Sequence[str]) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vocab", type=int, nargs="+", default=[50257, 152064])
    parser.add_argument("--draws", type=int, default=1_000_000)
    parser.add_argument("--rows", type=int, default=32)
    parser.add_argument("--repetitions", type=several, default=10)
    arguments = parser.parse_args(argv)
    for vocab in arguments.vocab:
        print(f"V = {vocab}, {noise_size(vocab)} values of noise in two levels")
        print_times(vocab, arguments.rows, arguments.repetitions)
        print_changes(vocab, arguments.draws)


if __name__ == "__main__":
    main(sys.argv[1:])
