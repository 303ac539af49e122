"""The inputs of a surrogate: log-probabilities and weights of the tokens of whole groups, and their advantages."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


@dataclass(frozen=True, kw_only=True)
class Terms:
    """Groups of completions. Off the mask log-probabilities and weights are 0, so padding does not count."""

    mask: Bool[Array, "*batch G C"]
    plain_weights: Float[Array, "*batch G C"]  # of tokens, by the aggregation alone
    correction: Float[Array, "*batch G C"]  # for the sampler, a factor of each token's gradient; 1 without a correction
    prompt_weights: Float[Array, "*batch"]  # factors of the groups' losses; 1 without a selection of prompts
    logprobs: Float[Array, "*batch G C"]  # of the policy to be differentiated
    log_ratio: Float[Array, "*batch G C"]  # to the old policy, clamped
    reference_logprobs: Float[Array, "*batch G C"] | None  # of the base policy, if the surrogate needs them
    advantages: Float[Array, "*batch G"]  # a completion with 0 does not count

    @property
    def weights(self) -> Float[Array, "*batch G C"]:
        """The weight of each token in a sum over single tokens: all three factors."""
        return self.plain_weights * self.correction * self.prompt_weights[..., None, None]

    @property
    def ratio(self) -> Float[Array, "*batch G C"]:
        """rho_t = pi(o_t) / pi_old(o_t)."""
        return jnp.exp(self.log_ratio)

    @property
    def sequence_log_ratio(self) -> Float[Array, "*batch G 1"]:
        """The log of the geometric mean of a completion's ratios, (1/|o|) sum_t log rho_t."""
        return mean_over_tokens(self.log_ratio, self.mask)


# Returns a sum over all completions, which is to be minimised.
Surrogate: TypeAlias = Callable[[Terms], Float[Array, ""]]


def mean_over_tokens(values: Float[Array, "*batch G C"], mask: Bool[Array, "*batch G C"]) -> Float[Array, "*batch G 1"]:
    """Return the mean over the tokens of each completion; 0 if it has none."""
    return jnp.where(mask, values, 0.0).sum(-1, keepdims=True) / jnp.maximum(mask.sum(-1, keepdims=True), 1)
