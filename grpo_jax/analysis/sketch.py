"""Sketches: a random projection of long vectors to short ones that preserves inner products without bias.

This is a count sketch (Charikar, Chen and Farach-Colton, 2002). Every entry gets a random sign and is added to one of n
buckets. E <sketch(a), sketch(b)> = <a, b>, and the variance is at most about (|a|^2 |b|^2 + <a, b>^2) / n. Signs and
buckets are hashes of an entry's index, so nothing as long as a gradient is stored or drawn. The buckets of n
consecutive entries are a rotation of 0..n-1. So adding them up needs a rotation and a sum, but no scatter, which is
slow on TPU.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt32


def sketch(tree: Any, size: int) -> Float[Array, " {size}"]:
    """Return the sketch of all leaves as one vector. The projection depends only on the tree's structure."""
    total, first = jnp.zeros(size, jnp.float32), 0
    for leaf in jax.tree.leaves(tree):
        total += _of_leaf(leaf.ravel().astype(jnp.float32), first, size)
        first += -(-leaf.size // size)
    return total


def flat(tree: Any) -> Float[Array, " entries"]:
    """Return all leaves as one vector, which `sketch` projects."""
    return jnp.concatenate([leaf.ravel().astype(jnp.float32) for leaf in jax.tree.leaves(tree)])


def _of_leaf(values: Float[Array, " entries"], first: int, size: int) -> Float[Array, " {size}"]:
    """Return the sketch of one leaf, whose rows of `size` entries are counted from `first`."""
    rows = jnp.pad(values, (0, -len(values) % size)).reshape(-1, size)
    # Counted modulo 2^32: beyond that many rows the signs repeat, under other rotations.
    places = jnp.arange(len(rows), dtype=jnp.uint32) + jnp.uint32(first % 2**32)

    def add(total: Array, row: tuple[Array, Array]) -> tuple[Array, None]:
        entries, place = row
        seed = _mixed(place)
        odd = _mixed(jnp.arange(size, dtype=jnp.uint32) * jnp.uint32(0x9E3779B1) + seed) >> 31
        signed = jnp.where(odd == 1, -entries, entries)
        return total + jnp.roll(signed, (_mixed(seed) % size).astype(jnp.int32)), None

    return jax.lax.scan(add, jnp.zeros(size, jnp.float32), (rows, places))[0]


def _mixed(x: UInt32[Array, "*any"]) -> UInt32[Array, "*any"]:
    """Return a hash of 32 bits, each of which depends on every bit of x (the last step of MurmurHash3)."""
    x = (x ^ (x >> 16)) * jnp.uint32(0x85EBCA6B)
    x = (x ^ (x >> 13)) * jnp.uint32(0xC2B2AE35)
    return x ^ (x >> 16)
