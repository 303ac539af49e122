"""Filters of the logits, which limit what may be sampled. They come after the temperature, as in Hugging Face."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from grpo_jax.config import SamplingConfig

Logits = Float[Array, "*batch V"]

CUT = -jnp.inf


def top_k(logits: Logits, k: int) -> Logits:
    """Keep the k likeliest tokens, and those that tie with the last of them."""
    kth = jax.lax.top_k(logits, min(k, logits.shape[-1]))[0][..., -1:]
    return jnp.where(logits < kth, CUT, logits)


def top_p(logits: Logits, p: float) -> Logits:
    """Keep the smallest set of likeliest tokens whose probability reaches p (arXiv 1904.09751)."""
    ordered = jnp.sort(logits, axis=-1, descending=True)
    probabilities = jax.nn.softmax(ordered, axis=-1)
    before = jnp.cumsum(probabilities, axis=-1) - probabilities  # of all likelier tokens
    last = jnp.where(before < p, ordered, jnp.inf).min(-1, keepdims=True)
    return jnp.where(logits < last, CUT, logits)


def min_p(logits: Logits, p: float) -> Logits:
    """Keep the tokens at least p times as likely as the likeliest (arXiv 2407.01082)."""
    return jnp.where(logits < logits.max(-1, keepdims=True) + jnp.log(p), CUT, logits)


def filtered(logits: Logits, config: SamplingConfig) -> Logits:
    """Return the logits to sample from, in float32, after temperature, top-k, top-p and min-p.

    Greedy decoding (temperature 0) is chosen by the sampler; the logits are then those at temperature 1.
    """
    logits = logits.astype(jnp.float32) / (config.temperature or 1.0)
    if config.top_k:
        logits = top_k(logits, config.top_k)
    if config.top_p < 1:
        logits = top_p(logits, config.top_p)
    if config.min_p:
        logits = min_p(logits, config.min_p)
    return logits
