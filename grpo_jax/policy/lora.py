"""Low-rank adapters (LoRA, arXiv 2106.09685): selecting their parameters, and adding them to their kernels.

A linear layer with an adapter computes x W + s (x A) B. W [*inputs, *outputs] is not trained; A [*inputs, rank] and
B [rank, *outputs] are; s is alpha / rank. A starts from random values and B from zeros, so at first nothing changes.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array

from grpo_jax.policy.attention import precision
from grpo_jax.types import Params

ADAPTERS = ("lora_a", "lora_b")


def trained_of(params: Params) -> Params:
    """Return the parameters that are trained: the adapters, or all of them if there are no adapters."""
    return _adapters(params) or params


def with_trained(params: Params, trained: Params) -> Params:
    """Return all parameters, with those that are trained replaced; see `trained_of`.

    The trained ones may be adapters that the parameters do not have yet. The others are the same arrays, not copies.
    """
    inner = {
        name: with_trained(params[name], node) if isinstance(node, dict) else node for name, node in trained.items()
    }
    return params | inner


def merge_adapters(params: Params, scale: float, *, stacked: bool) -> Params:
    """Return parameters without adapters that compute the same: W + s A B in place of W, summed in float32.

    Args:
      scale: s.
      stacked: whether W, A and B have a leading axis of layers.
    """
    if ADAPTERS[0] in params:
        a, b = (params[name].astype(jnp.float32) for name in ADAPTERS)
        product = partial(jnp.tensordot, axes=1, precision=precision(a.dtype))
        change: Array = (jax.vmap(product) if stacked else product)(a, b)
        others = {name: leaf for name, leaf in params.items() if name not in ADAPTERS}
        return others | {"kernel": params["kernel"].astype(jnp.float32) + scale * change}
    return {
        name: merge_adapters(node, scale, stacked=stacked) if isinstance(node, dict) else node
        for name, node in params.items()
    }


def has_adapters(params: Params) -> bool:
    """Return whether any of these parameters are adapters."""
    return bool(_adapters(params))


def other_adapters(params: Params, scale: float, share: float, *, stacked: bool) -> Params:
    """Return parameters with other adapters, which depend on no earlier B and change every kernel.

    B is a multiple of A^T W, so a kernel changes in the directions of A, by a multiple of what it has there.

    Args:
      scale: s.
      share: the size of s A B as a share of the size of W, both by the sum of squares.
      stacked: whether W, A and B have a leading axis of layers.
    """
    if ADAPTERS[0] in params:
        kernel, a = (params[name].astype(jnp.float32) for name in ("kernel", ADAPTERS[0]))
        of_layer = partial(_b_from_kernel, scale=scale, share=share)
        b: Array = (jax.vmap(of_layer) if stacked else of_layer)(kernel, a)
        return params | {ADAPTERS[1]: b.astype(params[ADAPTERS[1]].dtype)}
    return {
        name: other_adapters(node, scale, share, stacked=stacked) if isinstance(node, dict) else node
        for name, node in params.items()
    }


def _b_from_kernel(kernel: Array, a: Array, scale: float, share: float) -> Array:
    inputs = tuple(range(a.ndim - 1))
    b = jnp.tensordot(a, kernel, axes=(inputs, inputs), precision=precision(a.dtype))
    change = jnp.tensordot(a, b, axes=1, precision=precision(a.dtype))
    return b * (share / scale) * jnp.linalg.norm(kernel) / jnp.linalg.norm(change)


def _adapters(params: Params) -> Params:
    """Return the adapters, in branches of the tree that lead to them."""
    inner = {name: _adapters(node) for name, node in params.items() if isinstance(node, dict)}
    return {name: node for name, node in inner.items() if node} | {
        name: params[name] for name in ADAPTERS if name in params
    }
