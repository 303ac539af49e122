"""An objective is three parts: an advantage estimator, a surrogate, and an aggregation of tokens."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from grpo_jax.objectives.advantages import Estimator
from grpo_jax.objectives.aggregation import Aggregation
from grpo_jax.objectives.ratios import importance_ratio, log_importance_ratio
from grpo_jax.objectives.terms import Surrogate, Terms
from grpo_jax.objectives.tokens import completion_mask
from grpo_jax.types import Groups


class LossSum(NamedTuple):
    """A loss is `total / weight`, divided once over everything that an optimizer step sees."""

    total: Float[Array, ""]
    weight: Float[Array, ""]


@dataclass(frozen=True)
class Objective:
    """What a policy is trained for. Its methods take arrays and never see a model, nor read a token."""

    advantages: Estimator  # Outcomes of a step -> advantages [N, G]
    surrogate: Surrogate  # Terms -> sum over completions
    aggregation: Aggregation
    relative: bool  # whether the surrogate compares with the reference policy
    kl_coef: float
    kl: Callable[[Array, Array], Array]
    correction: Callable[[Array], Array] | None  # of pi_old / pi_sampler, to a token's weight

    @property
    def reference(self) -> bool:
        """Whether the reference's log-probabilities are read: by the surrogate, or by a KL term."""
        return self.relative or self.kl_coef > 0

    def loss(self, logprobs: Float[Array, "*batch G C"], groups: Groups) -> LossSum:
        """The summed loss of groups of completions, and their weight in its denominator.

        Args:
          logprobs: of the policy that is differentiated.
        """
        terms = self._terms(logprobs, groups)
        total = self.surrogate(terms)
        if self.kl_coef:
            assert groups.reference_logprobs is not None
            divergence = self.kl(terms.logprobs, jnp.where(terms.mask, groups.reference_logprobs, 0.0))
            total += self.kl_coef * (terms.plain_weights * divergence).sum()
        return LossSum(total, self.aggregation.share(groups.completion_lengths).sum())

    def cut(self, logprobs: Float[Array, "*batch G C"], groups: Groups) -> Bool[Array, "*batch G C"]:
        """The tokens beyond the clip: they have an advantage and a weight, and the surrogate no gradient of them.

        So it is whatever this surrogate clips, be it tokens or whole completions.
        """

        def surrogate(logprobs: Float[Array, "*batch G C"]) -> tuple[Float[Array, ""], Float[Array, "*batch G C"]]:
            terms = self._terms(logprobs, groups)
            return self.surrogate(terms), terms.weights

        gradient, weights = jax.grad(surrogate, has_aux=True)(logprobs)
        return (gradient == 0) & (weights > 0) & (groups.advantages != 0)[..., None]

    def _terms(self, logprobs: Float[Array, "*batch G C"], groups: Groups) -> Terms:
        lengths, width = groups.completion_lengths, logprobs.shape[-1]
        mask = completion_mask(lengths, width)
        weights = jnp.where(mask, self.aggregation.weight(lengths, width)[..., None], 0.0)
        corrected = weights
        if self.correction is not None:
            ratio = importance_ratio(groups.ratio_denominator, groups.sampler_logprobs, mask)
            corrected *= self.correction(jax.lax.stop_gradient(ratio))
        # A surrogate that does not ask for the reference does not get the one that a KL term is with.
        reference = groups.reference_logprobs if self.relative else None
        return Terms(
            mask=mask,
            weights=corrected,
            plain_weights=weights,
            logprobs=jnp.where(mask, logprobs, 0.0),
            log_ratio=log_importance_ratio(logprobs, groups.ratio_denominator, mask),
            reference_logprobs=None if reference is None else jnp.where(mask, reference, 0.0),
            advantages=groups.advantages,
        )
