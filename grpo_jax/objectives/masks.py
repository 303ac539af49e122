"""Which tokens count: decided by lengths, in this one place."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int


def completion_mask(lengths: Int[Array, "*batch"], width: int) -> Bool[Array, "*batch C"]:
    """True at the first `lengths` of `width` positions.

    Made from lengths and never from token ids: padding often has the id of the end-of-sequence token, which is a
    part of the completion and of the loss.
    """
    positions = jax.lax.broadcasted_iota(jnp.int32, (*lengths.shape, width), lengths.ndim)
    return positions < lengths[..., None]
