"""The gradient's noise, estimated from the differences between the gradients of micro-batches.

After "An Empirical Model of Large-Batch Training", arXiv 1812.06162. With S_k the gradient of micro-batch k summed over
its n_k groups, mu a group's mean gradient and V the trace of its covariance, E|S_k|^2 = n_k^2 |mu|^2 + n_k V. The same
holds for the sum of all micro-batches with n = sum n_k. So

    |mu|^2 = (|sum S_k|^2 - sum |S_k|^2) / (n^2 - sum n_k^2),   V = (sum |S_k|^2 - |mu|^2 sum n_k^2) / n

are unbiased. V / |mu|^2 is the noise scale: with about that many groups, signal and noise are equally large. The
estimates of one step are noisy, and the one of |mu|^2 is often negative. Average both over many steps before dividing.
"""

from typing import NamedTuple

import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float

from grpo_jax.training.metrics import Mean
from grpo_jax.types import Groups, Params


class NoiseSums(NamedTuple):
    """Sums over micro-batches."""

    groups: Float[Array, ""]  # n: groups with any tokens, which are those that the update learns from
    groups_squared: Float[Array, ""]  # sum n_k^2
    norms_squared: Float[Array, ""]  # sum |S_k|^2


def noise_sums(gradients: Params, groups: Groups) -> NoiseSums:
    """Return the sums of one micro-batch."""
    count = (groups.completion_lengths.max(-1) > 0).sum().astype(jnp.float32)
    return NoiseSums(count, count**2, optax.tree.norm(gradients, squared=True))


def noise_metrics(gradients: Params, noise: NoiseSums, random: Bool[Array, ""]) -> dict[str, Mean]:
    """Return `noise/signal` (|mu|^2) and `noise/variance` (V).

    Their weight is 0 if there is only one micro-batch, or if micro-batches are not random samples of groups.

    Args:
      gradients: the sum over all micro-batches.
      noise: the other sums.
      random: whether micro-batches are random samples of groups.
    """
    several = (noise.groups**2 > noise.groups_squared) & random
    pairs = jnp.where(several, noise.groups**2 - noise.groups_squared, 1.0)
    signal = (optax.tree.norm(gradients, squared=True) - noise.norms_squared) / pairs
    variance = (noise.norms_squared - signal * noise.groups_squared) / jnp.maximum(noise.groups, 1.0)
    weight = several.astype(jnp.float32)
    return {
        "noise/signal": Mean(jnp.where(several, signal, 0.0), weight),
        "noise/variance": Mean(jnp.where(several, variance, 0.0), weight),
    }
