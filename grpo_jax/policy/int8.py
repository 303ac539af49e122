"""Weights in int8 with a scale for each output channel (`rollout.quantization`), for sampling alone.

A kernel W [*inputs, *outputs] becomes round(W / s) in int8, and s [*outputs] in float32, where s is the largest |W| of
an output channel over 127. So no weight is off by more than s / 2. Layers compute (x @ int8) * s: the factors of the
product are in the compute dtype, which holds -127 to 127 exactly, and the memory holds one byte for each weight.

Kernels of attention, of MLPs, of experts and of a head of its own are quantised. Embeddings (tied heads included),
norms, biases, routers and adapters are not: they are small, or an error in them costs more.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int8

from grpo_jax.types import Params

LARGEST = 127  # -128 would have no counterpart
SCALE = "kernel_scale"  # beside "kernel" in the tree of parameters


class Quantised(NamedTuple):
    """A kernel in int8, and the scales of its output channels."""

    kernel: Int8[Array, "..."]
    scale: Float[Array, "..."]  # the shape of the kernel without its inputs


def quantise(kernel: Float[Array, "..."], inputs: Sequence[int]) -> Quantised:
    """Quantise a kernel. A channel of zeros has a scale of 0; one that is not finite has a scale that is not finite.

    Args:
      kernel: [*inputs, *outputs], perhaps with axes of layers and experts, which count as outputs.
      inputs: the axes over which a product with the kernel sums.
    """
    wide = kernel.astype(jnp.float32)
    scale = jnp.abs(wide).max(axis=tuple(inputs), keepdims=True) / LARGEST
    rounded = jnp.round(wide / jnp.where(scale > 0, scale, 1.0))
    return Quantised(rounded.astype(jnp.int8), scale.squeeze(tuple(inputs)))


def factors(x: Float[Array, "..."], kernel: Int8[Array, "..."]) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """Return x, and the kernel in its dtype, which is converted only once x is known.

    Otherwise a compiler converts the kernels of all unrolled layers before the loop that decodes, since they do not
    change in it. The converted ones would then be in memory together, in four times the bytes or twice.
    """
    x, kernel = jax.lax.optimization_barrier((x, kernel))
    return x, kernel.astype(x.dtype)


def scaled(product: Float[Array, "..."], scale: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return a product with a kernel in int8, times the scales of its trailing axes, multiplied in float32."""
    factor = scale.reshape((1,) * (product.ndim - scale.ndim) + scale.shape)
    return (product.astype(jnp.float32) * factor).astype(product.dtype)


def quantise_all(params: Params, axes: Any) -> Params:
    """Return parameters with quantised kernels, and all others as they are.

    Args:
      params: nested dictionaries of arrays.
      axes: of the quantised parameters: the names of each array's axes. A kernel that has a scale there is quantised,
        and sums over the axes that its scale lacks.
    """
    found = {name: quantise_all(node, axes[name]) if isinstance(node, dict) else node for name, node in params.items()}
    if SCALE not in axes:
        return found
    inputs = [axis for axis, name in enumerate(axes["kernel"]) if name not in axes[SCALE]]
    kernel, scale = quantise(params["kernel"], inputs)
    return found | {"kernel": kernel, SCALE: scale}


def is_quantised(params: Params) -> bool:
    """Return whether any kernel among these parameters is quantised."""
    return SCALE in params or any(is_quantised(node) for node in params.values() if isinstance(node, dict))
