"""Single tokens: which of them count, and their log-probabilities."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


def length_mask(lengths: Int[Array, "*batch"], width: int) -> Bool[Array, "*batch C"]:
    """Return a mask that is True at the first `lengths` of `width` positions.

    No other function decides which tokens count. The mask comes from lengths and never from token ids: padding often
    has the id of the end-of-sequence token, which belongs to the completion and to the loss.
    """
    positions = jax.lax.broadcasted_iota(jnp.int32, (*lengths.shape, width), lengths.ndim)
    return positions < lengths[..., None]


def token_logprobs(
    logits: Float[Array, "*batch V"], tokens: Int[Array, "*batch"], temperature: float = 1.0
) -> Float[Array, "*batch"]:
    """Return log softmax(logits / temperature)[token], computed in float32.

    The logits are divided, not the hidden states: with a soft-cap or a bias on the head that would be another policy.
    A masked sum picks the token's logit. It stays local where devices share the vocabulary, and its gradient needs no
    scatter.

    Args:
      logits: of any float dtype; bfloat16 logits have already lost about 0.02 nats.
      tokens: ids in [0, V).
      temperature: of the sampling, above 0.
    """
    logits = logits.astype(jnp.float32) / temperature
    logits -= jax.lax.stop_gradient(logits.max(axis=-1, keepdims=True))  # large logits leave few digits for differences
    chosen = jax.lax.broadcasted_iota(tokens.dtype, logits.shape, logits.ndim - 1) == tokens[..., None]
    return jnp.where(chosen, logits, 0.0).sum(-1) - jnp.log(jnp.exp(logits).sum(-1))
