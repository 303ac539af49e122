"""The choice of a token from its logits and Gumbel noise: exactly by their softmax.

The argmax of log-probabilities plus Gumbel noise is a draw of their distribution, and small errors of rounding hardly
ever change it. That is why a completion is the same in any batch, lane and mesh. But noise for every entry of a
vocabulary of 50,000 costs as much as a layer of the decoder. So a larger vocabulary is cut into blocks, and a token is
chosen in two levels: first its block, by the logarithm of the block's probability plus noise, then the token in it.
That is the same distribution, from less than a fiftieth of the noise. docs/performance.md compares it with the
inversion of the cumulative distribution, which needs even less noise, but which rounding changes more often.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

# Tokens of a block. About the root of V needs the least noise (225 of 50,000 tokens, 390 of 152,000), but any number
# near it will do. 128 divides the sizes of most vocabularies, so nothing is padded; it is a multiple of the number of
# devices among which a vocabulary may be split, and the width of a TPU's vectors.
BLOCK = 128

Choices = tuple[Int[Array, "*batch"], Float[Array, "*batch"]]


def noise_size(vocab: int) -> int:
    """Return how many values of Gumbel noise it takes to choose one of `vocab` tokens."""
    return vocab if vocab <= BLOCK else _blocks(vocab) + BLOCK


def likeliest(logits: Float[Array, "*batch V"]) -> Choices:
    """Return the likeliest tokens and their log-probabilities."""
    logprobs = jax.nn.log_softmax(logits, axis=-1)
    return _largest(logprobs, logprobs)


def draw(logits: Float[Array, "*batch V"], noise: Float[Array, "*batch noise_size"]) -> Choices:
    """Draw tokens by the softmax of their logits, and return them with their log-probabilities.

    Args:
      logits: -inf for tokens that must not be drawn.
      noise: standard Gumbel noise, `noise_size(V)` values for each token.
    """
    vocab = logits.shape[-1]
    if vocab <= BLOCK:
        logprobs = jax.nn.log_softmax(logits, axis=-1)
        return _largest(logprobs + noise, logprobs)
    blocks = _blocks(vocab)
    of_blocks, of_tokens = jnp.split(noise, [blocks], axis=-1)
    # Token i is in block i % blocks. If the vocabulary is split among devices, each has a part of every block, and sums
    # are exchanged instead of logits. Blocks of neighbours would straddle devices, and the compiler would gather all.
    missing = [(0, 0)] * (logits.ndim - 1) + [(0, BLOCK * blocks - vocab)]
    by_block = jnp.pad(logits, missing, constant_values=-jnp.inf).reshape(*logits.shape[:-1], BLOCK, blocks)
    top = by_block.max(axis=(-2, -1))
    # A block that vanishes beside the likeliest token has a probability below e^-87, and is never drawn.
    mass = jnp.exp(by_block - top[..., None, None]).sum(axis=-2)
    block = jnp.argmax(jnp.log(mass) + of_blocks, axis=-1).astype(jnp.int32)
    inside = jnp.take_along_axis(by_block, block[..., None, None], axis=-1)[..., 0]
    row, logit = _largest(inside + of_tokens, inside)
    return row * blocks + block, logit - top - jnp.log(mass.sum(axis=-1))


def _blocks(vocab: int) -> int:
    return -(-vocab // BLOCK)


def _largest(scores: Float[Array, "*batch choices"], values: Float[Array, "*batch choices"]) -> Choices:
    """Return where the scores are largest, and the values there."""
    index = jnp.argmax(scores, axis=-1).astype(jnp.int32)
    return index, jnp.take_along_axis(values, index[..., None], axis=-1)[..., 0]
