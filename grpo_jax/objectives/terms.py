"""What a surrogate sees: the tokens of whole groups, and what they were worth."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


@dataclass(frozen=True, kw_only=True)
class Terms:
    """Groups of completions. Off the mask log-probabilities and weights are 0: nothing that stands there counts."""

    mask: Bool[Array, "*batch G C"]
    weights: Float[Array, "*batch G C"]  # of tokens, by the aggregation, times the correction of the sampler's
    plain_weights: Float[Array, "*batch G C"]  # by the aggregation alone
    logprobs: Float[Array, "*batch G C"]  # of the policy that is differentiated
    log_ratio: Float[Array, "*batch G C"]  # to the old policy, clamped
    reference_logprobs: Float[Array, "*batch G C"] | None  # of the base policy, if the surrogate compares with it
    advantages: Float[Array, "*batch G"]  # 0 leaves a completion out

    @property
    def ratio(self) -> Float[Array, "*batch G C"]:
        """rho_t = pi(o_t) / pi_old(o_t)."""
        return jnp.exp(self.log_ratio)

    @property
    def sequence_log_ratio(self) -> Float[Array, "*batch G 1"]:
        """log of the geometric mean of a completion's ratios: (1/|o|) sum_t log rho_t."""
        return mean_over_tokens(self.log_ratio, self.mask)


# To a sum over all completions that is to be minimised.
Surrogate: TypeAlias = Callable[[Terms], Float[Array, ""]]


def mean_over_tokens(values: Float[Array, "*batch G C"], mask: Bool[Array, "*batch G C"]) -> Float[Array, "*batch G 1"]:
    """The mean over the tokens of each completion; 0 for one without any."""
    return jnp.where(mask, values, 0.0).sum(-1, keepdims=True) / jnp.maximum(mask.sum(-1, keepdims=True), 1)
