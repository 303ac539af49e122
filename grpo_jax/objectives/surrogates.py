"""Surrogates that are sums over tokens: each token's gain depends on its ratio (or its completion's) and its advantage.

Each function takes the `Terms` of groups and computes the gain of every token, [*batch, G, C], to be maximised.
`token_sum` turns it into a loss, minus the weighted sum. At ratio 1 every gain has the gradient A grad log pi.
"""

from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from grpo_jax.config import Positive, Range
from grpo_jax.objectives.ratios import cap, clipped_surrogate, floor
from grpo_jax.objectives.terms import Terms


def token_sum(gain: Callable[..., Float[Array, "*batch G C"]]) -> Callable[..., Float[Array, ""]]:
    """Turn a gain of tokens into a loss: minus the sum of the gains, each times its token's weight."""

    @wraps(gain)
    def loss(terms: Terms, **parameters: Any) -> Float[Array, ""]:
        return -jnp.where(terms.mask, terms.weights * gain(terms, **parameters), 0.0).sum()

    return loss


@token_sum
def clipped(terms: Terms, *, clip_low: float, clip_high: float) -> Float[Array, "*batch G C"]:
    """Compute the loss of PPO and GRPO: gain min(rho A, clip(rho, 1 - clip_low, 1 + clip_high) A), arXiv 1707.06347."""
    return clipped_surrogate(terms.ratio, terms.advantages, clip_low, clip_high)


@token_sum
def dual_clipped(
    terms: Terms, *, clip_low: float, clip_high: float, dual_clip: Annotated[float, Range(1, open_low=True)] = 3.0
) -> Float[Array, "*batch G C"]:
    """Compute the loss of dual-clip PPO: the gain of `clipped`, but for A < 0 never below dual_clip x A.

    So a wrong token that has become much likelier gets no gradient. arXiv 1912.09729.

    Args:
      dual_clip: c, above 1; for A < 0 the gradient is 0 where rho exceeds it.
    """
    ratio = jnp.where((terms.advantages < 0)[..., None], cap(terms.ratio, dual_clip - 1), terms.ratio)
    return clipped_surrogate(ratio, terms.advantages, clip_low, clip_high)


@token_sum
def policy_gradient(terms: Terms) -> Float[Array, "*batch G C"]:
    """Compute the loss of REINFORCE and GPG: gain A log pi, for one update per batch. arXiv 2504.02546."""
    return terms.advantages[..., None] * terms.logprobs


@token_sum
def clipped_weight(terms: Terms, *, clip_low: float, clip_high: float) -> Float[Array, "*batch G C"]:
    """Compute the loss of CISPO: gain sg[clip(rho)] A log pi, arXiv 2506.13585.

    The weight of a token is clipped, and its gradient is kept.
    """
    weight = jax.lax.stop_gradient(floor(cap(terms.ratio, clip_high), clip_low))
    return weight * terms.advantages[..., None] * terms.logprobs


@token_sum
def soft_gated(
    terms: Terms, *, positive_temperature: Positive = 1.0, negative_temperature: Positive = 1.05
) -> Float[Array, "*batch G C"]:
    """Compute the loss of SAPO: gain (4/tau) sigmoid(tau (rho - 1)) A, arXiv 2511.20347.

    The gradient fades on both sides of ratio 1, faster with a larger tau.

    Args:
      positive_temperature: tau where A > 0.
      negative_temperature: tau elsewhere.
    """
    advantages = terms.advantages[..., None]
    tau = jnp.where(advantages > 0, positive_temperature, negative_temperature)
    return 4 / tau * jax.nn.sigmoid(tau * (terms.ratio - 1)) * advantages


@token_sum
def sequence_clipped(terms: Terms, *, clip_low: float, clip_high: float) -> Float[Array, "*batch G C"]:
    """Compute the loss of GSPO: `clipped` with the ratio of the whole completion, s = (prod_t rho_t)^(1/|o|).

    Every token gains min(s A, clip(s) A). Under the aggregation "sequence" its completion gains as much. See arXiv
    2507.18071.
    """
    ratio = jnp.broadcast_to(jnp.exp(terms.sequence_log_ratio), terms.mask.shape)
    return clipped_surrogate(ratio, terms.advantages, clip_low, clip_high)


@token_sum
def geometric_mean(terms: Terms, *, clip_low: float, clip_high: float) -> Float[Array, "*batch G C"]:
    """Compute the loss of GMPO: gain A times the geometric mean of a completion's clipped ratios, arXiv 2507.20673.

    The ratio of a token is capped where A > 0, and floored where A < 0. Under the aggregation "sequence" a completion
    gains as much as each of its tokens.
    """
    positive = (terms.advantages > 0)[..., None]
    clipped_ratio = jnp.where(positive, cap(terms.ratio, clip_high), floor(terms.ratio, clip_low))
    # With clip_low 1, which is off, the floor is 0. It has no logarithm, but it never binds either.
    log_mean = jnp.where(terms.mask, jnp.log(jnp.maximum(clipped_ratio, 1e-9)), 0.0).sum(-1, keepdims=True)
    mean = jnp.exp(log_mean / jnp.maximum(terms.mask.sum(-1, keepdims=True), 1))
    return jnp.broadcast_to(mean, terms.mask.shape) * terms.advantages[..., None]
