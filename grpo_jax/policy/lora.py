"""Low-rank adapters (LoRA, arXiv 2106.09685): which parameters they are, and how they go back into their kernels.

A linear layer with an adapter gives x W + s (x A) B. W [*inputs, *outputs] stays as it is; A [*inputs, rank] and
B [rank, *outputs] are learned; s is alpha / rank. A is random and B zero at first: nothing is changed yet.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array

from grpo_jax.policy.attention import precision
from grpo_jax.types import Params

ADAPTERS = ("lora_a", "lora_b")


def split(params: Params) -> tuple[Params, Params]:
    """The adapters, and all other parameters."""
    return _select(params, lambda name: name in ADAPTERS), _select(params, lambda name: name not in ADAPTERS)


def join(some: Params, others: Params) -> Params:
    """The tree that `split` took apart."""
    both = {name: join(some[name], others[name]) for name in some.keys() & others.keys()}
    return some | others | both


def merge(params: Params, scale: float, *, stacked: bool) -> Params:
    """The parameters without adapters that compute the same: W + s A B in the place of W, summed in float32.

    Args:
      scale: s.
      stacked: whether W, A and B have a leading axis of layers.
    """
    if ADAPTERS[0] in params:
        a, b = (params[name].astype(jnp.float32) for name in ADAPTERS)
        product = partial(jnp.tensordot, axes=1, precision=precision(a.dtype))
        change: Array = (jax.vmap(product) if stacked else product)(a, b)
        return split(params)[1] | {"kernel": params["kernel"].astype(jnp.float32) + scale * change}
    return {
        name: merge(node, scale, stacked=stacked) if isinstance(node, dict) else node for name, node in params.items()
    }


def _select(params: Params, wanted: Callable[[str], bool]) -> Params:
    """The leaves whose names are wanted, and the branches that lead to them."""
    inner = {name: _select(node, wanted) for name, node in params.items() if isinstance(node, dict)}
    leaves = {name: leaf for name, leaf in params.items() if not isinstance(leaf, dict) and wanted(name)}
    return {name: node for name, node in inner.items() if node} | leaves
