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


class Recorded(NamedTuple):
    """What is known of groups of completions before the policy that learns from them is asked."""

    old_logprobs: Float[Array, "*batch G C"]  # the ratio's denominator
    sampler_logprobs: Float[Array, "*batch G C"]  # of the distribution drawn from; see `truncated` and `masked`
    reference_logprobs: Float[Array, "*batch G C"] | None  # of the frozen reference policy, if it is asked for
    lengths: Int[Array, "*batch G"]  # 0 for padding, which counts nowhere
    advantages: Float[Array, "*batch G"]  # from `Objective.advantages`, over the whole batch of rollouts


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

    def loss(self, logprobs: Float[Array, "*batch G C"], recorded: Recorded) -> LossSum:
        """The summed loss of groups of completions, and their weight in its denominator.

        Args:
          logprobs: of the policy that is differentiated.
        """
        terms = self._terms(logprobs, recorded)
        total = self.surrogate(terms)
        if self.kl_coef:
            assert recorded.reference_logprobs is not None
            divergence = self.kl(terms.logprobs, jnp.where(terms.mask, recorded.reference_logprobs, 0.0))
            total += self.kl_coef * (terms.plain_weights * divergence).sum()
        return LossSum(total, self.aggregation.share(recorded.lengths).sum())

    def cut(self, logprobs: Float[Array, "*batch G C"], recorded: Recorded) -> Bool[Array, "*batch G C"]:
        """The tokens beyond the clip: they have an advantage and a weight, and the surrogate no gradient of them.

        So it is whatever this surrogate clips, be it tokens or whole completions.
        """

        def surrogate(logprobs: Float[Array, "*batch G C"]) -> tuple[Float[Array, ""], Float[Array, "*batch G C"]]:
            terms = self._terms(logprobs, recorded)
            return self.surrogate(terms), terms.weights

        gradient, weights = jax.grad(surrogate, has_aux=True)(logprobs)
        return (gradient == 0) & (weights > 0) & (recorded.advantages != 0)[..., None]

    def _terms(self, logprobs: Float[Array, "*batch G C"], recorded: Recorded) -> Terms:
        width = logprobs.shape[-1]
        mask = completion_mask(recorded.lengths, width)
        weights = jnp.where(mask, self.aggregation.weight(recorded.lengths, width)[..., None], 0.0)
        corrected = weights
        if self.correction is not None:
            ratio = importance_ratio(recorded.old_logprobs, recorded.sampler_logprobs, mask)
            corrected *= self.correction(jax.lax.stop_gradient(ratio))
        # A surrogate that does not ask for the reference does not get the one that a KL term is with.
        reference = recorded.reference_logprobs if self.relative else None
        return Terms(
            mask=mask,
            weights=corrected,
            plain_weights=weights,
            logprobs=jnp.where(mask, logprobs, 0.0),
            log_ratio=log_importance_ratio(logprobs, recorded.old_logprobs, mask),
            reference_logprobs=None if reference is None else jnp.where(mask, reference, 0.0),
            advantages=recorded.advantages,
        )
