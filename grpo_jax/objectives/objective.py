"""An objective: an advantage estimator, a surrogate, and an aggregation of tokens."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from grpo_jax.objectives.advantages import Estimator
from grpo_jax.objectives.aggregation import Aggregation
from grpo_jax.objectives.credit import after_shared_prefix
from grpo_jax.objectives.outcomes import Outcomes
from grpo_jax.objectives.ratios import importance_ratio, log_importance_ratio
from grpo_jax.objectives.terms import Surrogate, Terms
from grpo_jax.objectives.tokens import length_mask
from grpo_jax.types import Groups


class LossSum(NamedTuple):
    """The loss of an optimizer step is `total / weight`, each summed over its whole batch before the division."""

    total: Float[Array, ""]
    weight: Float[Array, ""]


@dataclass(frozen=True)
class Objective:
    """The objective of training. Its methods take arrays; they use no model."""

    advantages: Estimator  # outcomes of a step -> advantages [N, G]
    surrogate: Surrogate  # terms -> sum over completions, to be minimised
    aggregation: Aggregation
    surrogate_needs_reference: bool  # whether the surrogate needs the reference's log-probabilities
    kl_coef: float
    kl: Callable[[Array, Array], Array]
    correction: Callable[[Array], Array] | None  # pi_old / pi_sampler -> a factor of the token's weight
    after_prefix: bool  # whether the surrogate gives no gradient to tokens with which all completions of a group begin
    unit_rewards: bool = False  # see `Recipe`
    needs_success: bool = False  # see `Recipe`
    has_tolerance: bool = False  # whether the estimator takes `objective.no_signal_tolerance`

    @property
    def needs_reference(self) -> bool:
        """Whether the surrogate or a KL term needs the reference's log-probabilities."""
        return self.surrogate_needs_reference or self.kl_coef > 0

    def advantages_alone(self, outcomes: Outcomes) -> Float[Array, "N G"]:
        """Return the advantages that each group would have as the only one of its step."""
        arrays, structure = jax.tree.flatten(outcomes)

        def alone(*of_group: Array) -> Float[Array, " G"]:
            return self.advantages(jax.tree.unflatten(structure, [array[None] for array in of_group]))[0]

        return jax.vmap(alone)(*arrays)

    def loss(self, logprobs: Float[Array, "*batch G C"], groups: Groups) -> LossSum:
        """Return the summed loss of groups of completions, and their weight in its denominator.

        Args:
          logprobs: of the policy to be differentiated.
        """
        terms = self._terms(logprobs, groups)
        total = self.surrogate(terms)
        if self.kl_coef:
            assert groups.reference_logprobs is not None
            pair = (jnp.where(terms.mask, each, 0.0) for each in (logprobs, groups.reference_logprobs))
            divergence = self.kl(*pair) * terms.prompt_weights[..., None, None]
            total += self.kl_coef * (terms.plain_weights * divergence).sum()
        return LossSum(total, self.aggregation.denominator(groups.completion_lengths).sum())

    def clipped_tokens(self, logprobs: Float[Array, "*batch G C"], groups: Groups) -> Bool[Array, "*batch G C"]:
        """Return a mask of the clipped tokens: they have an advantage and a weight, but get no gradient.

        This definition holds for every surrogate, whether it clips tokens or whole completions. It includes gradients
        that are 0 for another reason: because they are too small for float32, as under a preference loss that a pair
        has saturated, or because a pair has just the margin that IPO aims at.
        """

        def surrogate(logprobs: Float[Array, "*batch G C"]) -> tuple[Float[Array, ""], Float[Array, "*batch G C"]]:
            terms = self._terms(logprobs, groups)
            return self.surrogate(terms), terms.weights

        gradient, weights = jax.grad(surrogate, has_aux=True)(logprobs)
        counts = (weights > 0) & (groups.advantages != 0)[..., None]
        if self.after_prefix:
            counts &= after_shared_prefix(groups)
        return (gradient == 0) & counts

    def _terms(self, logprobs: Float[Array, "*batch G C"], groups: Groups) -> Terms:
        lengths, width = groups.completion_lengths, logprobs.shape[-1]
        mask = length_mask(lengths, width)
        weights = jnp.where(mask, self.aggregation.weight(lengths, width)[..., None], 0.0)
        correction = jnp.ones(logprobs.shape)
        if self.correction is not None:
            ratio = importance_ratio(groups.ratio_denominator, groups.sampler_logprobs, mask)
            correction = self.correction(jax.lax.stop_gradient(ratio))
        if self.after_prefix:
            logprobs = jnp.where(after_shared_prefix(groups), logprobs, jax.lax.stop_gradient(logprobs))
        # The reference of a KL term is not passed on to a surrogate that needs none.
        reference = groups.reference_logprobs if self.surrogate_needs_reference else None
        return Terms(
            mask=mask,
            plain_weights=weights,
            correction=correction,
            prompt_weights=jnp.asarray(groups.prompt_weights),
            logprobs=jnp.where(mask, logprobs, 0.0),
            log_ratio=log_importance_ratio(logprobs, groups.ratio_denominator, mask),
            reference_logprobs=None if reference is None else jnp.where(mask, reference, 0.0),
            advantages=groups.advantages,
        )
