"""Sketches: a random projection of long vectors to short ones that preserves inner products without bias.

This is a count sketch (Charikar, Chen and Farach-Colton, 2002). Every entry gets a random sign and is added to one of n
buckets. E <sketch(a), sketch(b)> = <a, b>, and the variance is at most about (|a|^2 |b|^2 + <a, b>^2) / n. Signs and
buckets are hashes of an entry's index, so nothing as long as a gradient is stored or drawn. The buckets of n
consecutive entries are a rotation of 0..n-1. So they are added to a slice of 2n sums, whose second half is added to the
first at the end. Nothing is scattered, which is slow on TPU. Several vectors are sketched without `jax.vmap`, since it
would make a gather and a scatter of the slices.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt32


def sketches(trees: Any, size: int) -> Float[Array, "B {size}"]:
    """Return a sketch for each of B trees, whose leaves are stacked. The projection depends only on their structure."""
    total, first = jnp.float32(0.0), 0
    for leaf in jax.tree.leaves(trees):
        values = leaf.reshape(len(leaf), -1).astype(jnp.float32)
        total += _of_leaf(values, first, size)
        first += -(-values.shape[1] // size)
    return total


def flat(tree: Any) -> Float[Array, " entries"]:
    """Return all leaves of one tree as one vector, which `sketches` projects."""
    return jnp.concatenate([leaf.ravel().astype(jnp.float32) for leaf in jax.tree.leaves(tree)])


def _of_leaf(values: Float[Array, "B entries"], first: int, size: int) -> Float[Array, "B {size}"]:
    """Return the sketches of one leaf, whose rows of `size` entries are counted from `first`."""
    rows = jnp.pad(values, ((0, 0), (0, -values.shape[1] % size))).reshape(len(values), -1, size)

    def add(index: Array, sums: Array) -> Array:
        # Counted modulo 2^32: beyond that many rows the signs repeat, under other rotations.
        seed = _mixed(index.astype(jnp.uint32) + jnp.uint32(first % 2**32))
        odd = _mixed(jnp.arange(size, dtype=jnp.uint32) * jnp.uint32(0x9E3779B1) + seed) >> 31
        entries = jax.lax.dynamic_index_in_dim(rows, index, axis=1, keepdims=False)
        start = (_mixed(seed) % size).astype(jnp.int32)
        added = jax.lax.dynamic_slice_in_dim(sums, start, size, axis=1) + jnp.where(odd == 1, -entries, entries)
        return jax.lax.dynamic_update_slice_in_dim(sums, added, start, axis=1)

    sums = jax.lax.fori_loop(0, rows.shape[1], add, jnp.zeros((len(values), 2 * size), jnp.float32))
    return sums[:, :size] + sums[:, size:]


def _mixed(x: UInt32[Array, "*any"]) -> UInt32[Array, "*any"]:
    """Return a hash of 32 bits, each of which depends on every bit of x (the last step of MurmurHash3)."""
    x = (x ^ (x >> 16)) * jnp.uint32(0x85EBCA6B)
    x = (x ^ (x >> 13)) * jnp.uint32(0xC2B2AE35)
    return x ^ (x >> 16)
