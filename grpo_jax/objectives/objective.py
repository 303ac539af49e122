"""An objective is three parts: an advantage estimator, a surrogate, and an aggregation of tokens."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

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
    """What a policy is trained for. `loss` takes arrays and never sees a model."""

    advantages: Estimator  # Outcomes of a step -> advantages [N, G]
    surrogate: Surrogate  # Terms -> sum over completions
    aggregation: Aggregation
    reference: bool  # whether the reference's log-probabilities are read: by the surrogate, or by a KL term
    clip_low: float  # of the surrogate, for the log
    clip_high: float
    kl_coef: float
    kl: Callable[[Array, Array], Array]
    correction: Callable[[Array], Array] | None  # of pi_old / pi_sampler, to a token's weight

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
        width = logprobs.shape[-1]
        mask = completion_mask(lengths, width)
        weights = jnp.where(mask, self.aggregation.weight(lengths, width)[..., None], 0.0)
        logprobs = jnp.where(mask, logprobs, 0.0)
        reference = None if reference_logprobs is None else jnp.where(mask, reference_logprobs, 0.0)

        corrected = weights
        if self.correction is not None:
            corrected *= self.correction(jax.lax.stop_gradient(importance_ratio(old_logprobs, sampler_logprobs, mask)))
        log_ratio = log_importance_ratio(logprobs, old_logprobs, mask)
        total = self.surrogate(Terms(mask, corrected, logprobs, log_ratio, reference, advantages))
        if self.kl_coef:
            assert reference is not None
            total += self.kl_coef * (weights * self.kl(logprobs, reference)).sum()
        return LossSum(total, self.aggregation.share(lengths).sum())
