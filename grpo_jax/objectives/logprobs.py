"""Log-probabilities of tokens from logits."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


def token_logprobs(
    logits: Float[Array, "*batch V"], tokens: Int[Array, "*batch"], temperature: float = 1.0
) -> Float[Array, "*batch"]:
    """log softmax(logits / temperature)[token], computed in float32.

    The logits are divided, not the hidden states: with a soft-cap or a bias on the head that would be another policy.
    The token's logit is taken by a masked sum, which stays local where the vocabulary is cut over devices and whose
    gradient needs no scatter.

    Args:
      logits: of any float dtype; bfloat16 logits have lost about 0.02 nats before they arrive here.
      tokens: ids in [0, V).
      temperature: of the sampling, above 0.
    """
    logits = logits.astype(jnp.float32) / temperature
    logits -= jax.lax.stop_gradient(logits.max(axis=-1, keepdims=True))  # large logits leave few digits for differences
    chosen = jax.lax.broadcasted_iota(tokens.dtype, logits.shape, logits.ndim - 1) == tokens[..., None]
    return jnp.where(chosen, logits, 0.0).sum(-1) - jnp.log(jnp.exp(logits).sum(-1))
