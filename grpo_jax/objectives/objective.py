"""An objective is three parts: an advantage estimator, a surrogate, and an aggregation of tokens."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from grpo_jax.objectives.advantages import Estimator
from grpo_jax.objectives.aggregation import Aggregation
from grpo_jax.objectives.masks import completion_mask
from grpo_jax.objectives.ratios import importance_ratio, log_importance_ratio
from grpo_jax.objectives.terms import Surrogate, Terms


class LossSum(NamedTuple):
    """A loss is `total / weight`, divided once over everything that an optimizer step sees."""

    total: Float[Array, ""]
    weight: Float[Array, ""]


@dataclass(frozen=True)
class Objective:
    """What a policy is trained for. Its methods take arrays and never see a model."""

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

    def loss(
        self,
        logprobs: Float[Array, "*batch G C"],
        old_logprobs: Float[Array, "*batch G C"],
        sampler_logprobs: Float[Array, "*batch G C"],
        reference_logprobs: Float[Array, "*batch G C"] | None,
        lengths: Int[Array, "*batch G"],
        advantages: Float[Array, "*batch G"],
    ) -> LossSum:
        """The summed loss of groups of completions, and their weight in its denominator.

        Args:
          logprobs: of the policy that is differentiated.
          old_logprobs: the ratio's denominator.
          sampler_logprobs: of the distribution that the tokens were drawn from; see `truncated` and `masked`.
          reference_logprobs: of the frozen reference policy, if `reference` is set.
          lengths: of the completions; 0 for padding, which counts nowhere.
          advantages: from `self.advantages`, over the whole batch of rollouts.
        """
        terms = self._terms(logprobs, old_logprobs, sampler_logprobs, reference_logprobs, lengths, advantages)
        total = self.surrogate(terms)
        if self.kl_coef:
            assert reference_logprobs is not None
            divergence = self.kl(terms.logprobs, jnp.where(terms.mask, reference_logprobs, 0.0))
            total += self.kl_coef * (terms.plain_weights * divergence).sum()
        return LossSum(total, self.aggregation.share(lengths).sum())

    def cut(
        self,
        logprobs: Float[Array, "*batch G C"],
        old_logprobs: Float[Array, "*batch G C"],
        sampler_logprobs: Float[Array, "*batch G C"],
        reference_logprobs: Float[Array, "*batch G C"] | None,
        lengths: Int[Array, "*batch G"],
        advantages: Float[Array, "*batch G"],
    ) -> Bool[Array, "*batch G C"]:
        """The tokens beyond the clip: they have an advantage and a weight, and the surrogate no gradient of them.

        So it is whatever this surrogate clips, be it tokens or whole completions. Arguments are those of `loss`.
        """

        def terms(logprobs: Float[Array, "*batch G C"]) -> Terms:
            return self._terms(logprobs, old_logprobs, sampler_logprobs, reference_logprobs, lengths, advantages)

        gradient = jax.grad(lambda logprobs: self.surrogate(terms(logprobs)))(logprobs)
        return (gradient == 0) & (terms(logprobs).weights > 0) & (advantages != 0)[..., None]

    def _terms(
        self,
        logprobs: Float[Array, "*batch G C"],
        old_logprobs: Float[Array, "*batch G C"],
        sampler_logprobs: Float[Array, "*batch G C"],
        reference_logprobs: Float[Array, "*batch G C"] | None,
        lengths: Int[Array, "*batch G"],
        advantages: Float[Array, "*batch G"],
    ) -> Terms:
        width = logprobs.shape[-1]
        mask = completion_mask(lengths, width)
        weights = jnp.where(mask, self.aggregation.weight(lengths, width)[..., None], 0.0)
        corrected = weights
        if self.correction is not None:
            corrected *= self.correction(jax.lax.stop_gradient(importance_ratio(old_logprobs, sampler_logprobs, mask)))
        # A surrogate that does not ask for the reference does not get the one that a KL term is with.
        reference = reference_logprobs if self.relative else None
        return Terms(
            mask=mask,
            weights=corrected,
            plain_weights=weights,
            logprobs=jnp.where(mask, logprobs, 0.0),
            log_ratio=log_importance_ratio(logprobs, old_logprobs, mask),
            reference_logprobs=None if reference is None else jnp.where(mask, reference, 0.0),
            advantages=advantages,
        )
