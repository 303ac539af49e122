"""Gumbel noise, and how the completions of a group share it.

A token is chosen by its logits and Gumbel noise (`choice.py`), so a completion is a function of its noise. Whatever the
kind, the noise of one completion is independent from token to token, and each completion's distribution is exactly the
policy's. The kinds differ in how the completions of a group depend on one another.

With coupled noise (all but `independent`) a completion's tokens are, given the prompt, no longer independent of the
other completions' rewards. So a baseline that is computed from the group biases the estimate of the gradient: the term
E[grad log pi(o1) r2], which is 0 for independent completions, is subtracted and is not 0.

  * antithetic: the bias has no simple form. A pair agrees less often, so differences of rewards come out too large: in
    the tests' bandit with three arms the gradient is half as long again, and has another direction.
  * common: tokens before the branching point are the same in all completions and mean-centred advantages add up to 0,
    so summed log-probabilities learn nothing from them; from the branching point on there is no bias. In expectation
    the gradient of the token at position t is multiplied by (t+1)/max_new_tokens: later positions count for more.

Without a baseline, or with one from elsewhere, no kind is biased.
"""

from collections.abc import Callable, Mapping
from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, UInt32

from grpo_jax.randomness import branching_key, random_bits, sample_key, token_key

# Returns standard Gumbel noise of one token. Takes the prompt's key in this step, the index of the completion in its
# group, the token's position in the completion, the size of the noise, and the room (max_new_tokens).
Noise: TypeAlias = Callable[[Key[Array, ""], Int[Array, ""], Int[Array, ""], int, int], Float[Array, " size"]]

BELOW_1 = float(np.nextafter(np.float32(1), np.float32(0)))


def gumbel(bits: UInt32[Array, " size"]) -> Float[Array, " size"]:
    """Return standard Gumbel noise, -log(-log u) with u = (bits + 1/2) / 2^32.

    An unlikely token is drawn when its noise is large, which means that u is near 1. There a float32 has too few digits
    for u: noise that is computed from u as a float32 ends near 16, and tokens less likely than 2^-24 are drawn too
    seldom, or never. So 1 - u is computed here, from the complement of the bits, because small numbers keep all of
    their digits. The noise is right to 1e-6 where it is above 0, and ends at 22.9. Tokens with a probability down to
    2^-32 are drawn as often as they should be (at 2^-32, 96 % as often), and so are blocks of tokens. Far less likely
    ones are never drawn; 150,000 of them weigh less than 4e-5 together. At its lower end the noise stops at -2.8, where
    u is 2^-24. That is harmless, because no token is drawn for its small noise.
    """
    complement = ((~bits).astype(jnp.float32) + 0.5) * 2.0**-32
    return -jnp.log(-jnp.log1p(-jnp.minimum(complement, BELOW_1)))


def independent(
    prompt: Key[Array, ""], sample: Int[Array, ""], position: Int[Array, ""], size: int, room: int
) -> Float[Array, " {size}"]:
    """Return noise that is independent for every completion of a group."""
    key = token_key(sample_key(prompt, sample), position)
    return gumbel(random_bits(key, size))


def antithetic(
    prompt: Key[Array, ""], sample: Int[Array, ""], position: Int[Array, ""], size: int, room: int
) -> Float[Array, " {size}"]:
    """Return opposite noise for completions 2j and 2j+1: -log(-log u) and -log(-log(1-u)), value by value.

    Completion 2j is the one that `independent` draws. 1-u has the complements of u's bits, so that it has the same
    distribution to the last bit, and both completions have the tail of large noise in full. The last completion of an
    odd group has no partner.
    """
    key = token_key(sample_key(prompt, sample - sample % 2), position)
    bits = random_bits(key, size)
    return gumbel(jnp.where(sample % 2 == 1, ~bits, bits))


def common(
    prompt: Key[Array, ""], sample: Int[Array, ""], position: Int[Array, ""], size: int, room: int
) -> Float[Array, " {size}"]:
    """Return noise that all completions share before the group's branching point, and independent noise from there on.

    So the completions are one prefix with independent continuations. The branching point is a position from 0 to
    room - 1, and all positions are equally likely.
    """
    branching = jax.random.randint(branching_key(prompt), (), 0, room)
    return independent(prompt, jnp.where(position < branching, 0, sample), position, size, room)


# The values of `rollout.noise`.
NOISES: Mapping[str, Noise] = {"independent": independent, "antithetic": antithetic, "common": common}
