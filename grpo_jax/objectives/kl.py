"""Estimators of KL(policy || reference) from sampled tokens (J. Schulman, "Approximating KL Divergence", 2020).

With l = log pi_ref - log pi at a token drawn from the policy:

  k1 = -l                 unbiased, of high variance; as a loss its expected gradient is exactly 0
  k2 = l^2 / 2            biased; as a loss its expected gradient is that of KL(policy || reference)
  k3 = exp(l) - 1 - l     unbiased and never negative; as a loss its expected gradient is that of
                          KL(reference || policy)
"""

from collections.abc import Callable, Mapping

import jax.numpy as jnp
from jaxtyping import Array, Float

from grpo_jax.objectives.ratios import MAX_LOG_RATIO


def k1(logprobs: Float[Array, "*any"], reference: Float[Array, "*any"]) -> Float[Array, "*any"]:
    """Return k1 of each token: log pi - log pi_ref."""
    return logprobs - reference


def k2(logprobs: Float[Array, "*any"], reference: Float[Array, "*any"]) -> Float[Array, "*any"]:
    """Return k2 of each token: (log pi - log pi_ref)^2 / 2."""
    return 0.5 * (logprobs - reference) ** 2


def k3(logprobs: Float[Array, "*any"], reference: Float[Array, "*any"]) -> Float[Array, "*any"]:
    """Return k3 of each token: pi_ref/pi - 1 - log(pi_ref/pi), with the log-ratio clamped to +-20."""
    log_ratio = jnp.clip(reference - logprobs, -MAX_LOG_RATIO, MAX_LOG_RATIO)
    # Near 0 the difference below cancels out in float32; its series is exact there.
    series = log_ratio**2 * (1 / 2 + log_ratio * (1 / 6 + log_ratio / 24))
    return jnp.where(jnp.abs(log_ratio) < 0.02, series, jnp.expm1(log_ratio) - log_ratio)


KL_ESTIMATORS: Mapping[str, Callable[[Float[Array, "*any"], Float[Array, "*any"]], Float[Array, "*any"]]] = {
    "k1": k1,
    "k2": k2,
    "k3": k3,
}
