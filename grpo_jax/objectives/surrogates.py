"""Surrogates of single tokens, or of a completion's tokens alike: what a token gains, by its ratio and advantage.

Each takes the `Terms` of groups and returns what is to be maximised, [*batch, G, C]; `token_sum` makes of it the loss:
minus the weighted sum. At ratio 1 all of them have the gradient A grad log pi, but for those that say otherwise.
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
    """The loss that a gain of tokens makes: minus its sum, each token by its weight."""

    @wraps(gain)
    def loss(terms: Terms, **parameters: Any) -> Float[Array, ""]:
        return -jnp.where(terms.mask, terms.weights * gain(terms, **parameters), 0.0).sum()

    return loss


@token_sum
def clipped(terms: Terms, *, clip_low: float, clip_high: float) -> Float[Array, "*batch G C"]:
    """PPO, GRPO: min(rho A, clip(rho, 1 - clip_low, 1 + clip_high) A), arXiv 1707.06347."""
    return clipped_surrogate(terms.ratio, terms.advantages, clip_low, clip_high)


@token_sum
def dual_clipped(
    terms: Terms, *, clip_low: float, clip_high: float, dual_clip: Annotated[float, Range(1, open_low=True)] = 3.0
) -> Float[Array, "*batch G C"]:
    """`clipped`, and for A < 0 never below dual_clip x A: a token that has become much likelier is let go.

    Dual-clip PPO, arXiv 1912.09729.

    Args:
      dual_clip: c, above 1; for A < 0 the gradient is 0 where rho is above it.
    """
    ratio = jnp.where((terms.advantages < 0)[..., None], cap(terms.ratio, dual_clip - 1), terms.ratio)
    return clipped_surrogate(ratio, terms.advantages, clip_low, clip_high)


@token_sum
def policy_gradient(terms: Terms) -> Float[Array, "*batch G C"]:
    """REINFORCE: A log pi, for a policy that is updated once by its own completions. GPG, arXiv 2504.02546."""
    return terms.advantages[..., None] * terms.logprobs


@token_sum
def clipped_weight(terms: Terms, *, clip_low: float, clip_high: float) -> Float[Array, "*batch G C"]:
    """CISPO: sg[clip(rho)] A log pi. The weight of a token is clipped and never its gradient, arXiv 2506.13585."""
    weight = jax.lax.stop_gradient(floor(cap(terms.ratio, clip_high), clip_low))
    return weight * terms.advantages[..., None] * terms.logprobs


@token_sum
def soft_gated(
    terms: Terms, *, positive_temperature: Positive = 1.0, negative_temperature: Positive = 1.05
) -> Float[Array, "*batch G C"]:
    """SAPO: (4/tau) sigmoid(tau (rho - 1)) A, arXiv 2511.20347: the gradient fades on both sides of ratio 1.

    Args:
      positive_temperature: tau where A > 0.
      negative_temperature: tau elsewhere; the larger one fades faster.
    """
    advantages = terms.advantages[..., None]
    tau = jnp.where(advantages > 0, positive_temperature, negative_temperature)
    return 4 / tau * jax.nn.sigmoid(tau * (terms.ratio - 1)) * advantages


@token_sum
def sequence_clipped(terms: Terms, *, clip_low: float, clip_high: float) -> Float[Array, "*batch G C"]:
    """GSPO: `clipped`, by the ratio of the whole completion, s = (prod_t rho_t)^(1/|o|), arXiv 2507.18071.

    Every token gains min(s A, clip(s) A); under the aggregation "sequence" a completion gains that once.
    """
    ratio = jnp.broadcast_to(jnp.exp(terms.sequence_log_ratio), terms.mask.shape)
    return clipped_surrogate(ratio, terms.advantages, clip_low, clip_high)


@token_sum
def geometric_mean(terms: Terms, *, clip_low: float, clip_high: float) -> Float[Array, "*batch G C"]:
    """GMPO: A times the geometric mean of the token ratios, each clipped on its own, arXiv 2507.20673.

    The ratio of a token is capped where A > 0 and floored where A < 0. Under the aggregation "sequence" a completion
    gains it once.
    """
    positive = (terms.advantages > 0)[..., None]
    clipped_ratio = jnp.where(positive, cap(terms.ratio, clip_high), floor(terms.ratio, clip_low))
    # A floor of 0 (clip_low 1, which is off) has no logarithm where it binds, and it never binds.
    log_mean = jnp.where(terms.mask, jnp.log(jnp.maximum(clipped_ratio, 1e-9)), 0.0).sum(-1, keepdims=True)
    mean = jnp.exp(log_mean / jnp.maximum(terms.mask.sum(-1, keepdims=True), 1))
    return jnp.broadcast_to(mean, terms.mask.shape) * terms.advantages[..., None]
