"""The importance ratio, its bounds, PPO's clipped surrogate, and corrections for the sampler, token by token."""

from collections.abc import Callable, Mapping

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

MAX_LOG_RATIO = 20.0  # exp(20) is 5e8: far beyond any clip, and finite


def log_importance_ratio(
    logprobs: Float[Array, "*batch C"], old_logprobs: Float[Array, "*batch C"], mask: Bool[Array, "*batch C"]
) -> Float[Array, "*batch C"]:
    """Return log pi(o_t) - log pi_old(o_t), clamped to +-20. Off the mask it is 0, even where the inputs are NaN."""
    return jnp.clip(jnp.where(mask, logprobs - old_logprobs, 0.0), -MAX_LOG_RATIO, MAX_LOG_RATIO)


def importance_ratio(
    logprobs: Float[Array, "*batch C"], old_logprobs: Float[Array, "*batch C"], mask: Bool[Array, "*batch C"]
) -> Float[Array, "*batch C"]:
    """Return rho_t = pi(o_t) / pi_old(o_t), between exp(-20) and exp(20), and 1 off the mask."""
    return jnp.exp(log_importance_ratio(logprobs, old_logprobs, mask))


def cap(ratio: Float[Array, "..."], clip_high: float) -> Float[Array, "..."]:
    """Return C+(rho) = min(rho, 1 + clip_high), which limits what a positive completion gains.

    At a tie the gradient is that of rho, as with the paper's indicator 1[not clipped]; `jnp.minimum` would halve it.
    """
    return jnp.where(ratio > 1 + clip_high, 1 + clip_high, ratio)


def floor(ratio: Float[Array, "..."], clip_low: float) -> Float[Array, "..."]:
    """Return C-(rho) = max(rho, 1 - clip_low), which limits what a negative completion loses. Ties as in `cap`."""
    return jnp.where(ratio < 1 - clip_low, 1 - clip_low, ratio)


def clipped_surrogate(
    ratio: Float[Array, "*batch C"], advantages: Float[Array, "*batch"], clip_low: float, clip_high: float
) -> Float[Array, "*batch C"]:
    """Return min(rho A, clip(rho, 1 - clip_low, 1 + clip_high) A), to be maximised: PPO (arXiv 1707.06347).

    The minimum binds above 1 + clip_high where A > 0, and below 1 - clip_low where A < 0. So one cap and one floor
    compute it. Separate bounds are DAPO's clip-higher (arXiv 2503.14476). clip_low = 1 and clip_high = inf are off.
    """
    advantages = advantages[..., None]
    return advantages * jnp.where(advantages > 0, cap(ratio, clip_high), floor(ratio, clip_low))


def truncated(ratio: Float[Array, "..."], limit: float) -> Float[Array, "..."]:
    """Return min(pi_old / pi_sampler, limit): truncated importance sampling.

    It corrects for a sampler that computes in another precision, or that filters its logits.
    """
    return jnp.minimum(ratio, limit)


def masked(ratio: Float[Array, "..."], limit: float) -> Float[Array, "..."]:
    """Return pi_old / pi_sampler if it is between 1/limit and limit, else 0: masked importance sampling (IcePop)."""
    return jnp.where((ratio <= limit) & (ratio >= 1 / limit), ratio, 0.0)


# By `objective.importance_beyond`.
CORRECTIONS: Mapping[str, Callable[..., Array]] = {"truncate": truncated, "mask": masked}
