"""An objective is three parts: an advantage estimator, a surrogate, and an aggregation of tokens."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from grpo_jax.config import ConfigError, ObjectiveConfig, did_you_mean
from grpo_jax.objectives import advantages as estimators
from grpo_jax.objectives.advantages import Estimator
from grpo_jax.objectives.aggregation import AGGREGATIONS, Aggregation
from grpo_jax.objectives.contrastive import clipped_loss, n_vs_m_loss, two_grpo_loss
from grpo_jax.objectives.kl import KL_ESTIMATORS
from grpo_jax.objectives.masks import completion_mask
from grpo_jax.objectives.surrogate import importance_ratio

SurrogateLoss: TypeAlias = Callable[
    [Float[Array, "*batch G C"], Float[Array, "*batch G C"], Float[Array, "*batch G"], float, float],
    Float[Array, ""],
]


class LossSum(NamedTuple):
    """A loss is `total / weight`, divided once over everything that an optimizer step sees."""

    total: Float[Array, ""]
    weight: Float[Array, ""]


@dataclass(frozen=True)
class Objective:
    """What a policy is trained for. `loss` takes arrays and never sees a model."""

    advantages: Estimator  # rewards [N, G], scored [N, G] -> advantages [N, G]
    surrogate_loss: SurrogateLoss  # ratio, weights, advantages, clip_low, clip_high -> sum over completions
    aggregation: Aggregation
    clip_low: float
    clip_high: float
    kl_coef: float
    kl: Callable[[Array, Array], Array]
    importance_cap: float

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
          sampler_logprobs: of the distribution that the tokens were drawn from. With an importance cap c, a token is
            weighted by min(pi_old / pi_sampler, c): truncated importance sampling, which corrects for a sampler that
            computes in another precision or cuts its vocabulary.
          reference_logprobs: of the frozen reference policy, if there is a KL term.
          lengths: of the completions; 0 for padding, which counts nowhere.
          advantages: from `self.advantages`, over the whole batch of rollouts.
        """
        width = logprobs.shape[-1]
        mask = completion_mask(lengths, width)
        weights = jnp.where(mask, self.aggregation.weight(lengths, width)[..., None], 0.0)
        ratio = importance_ratio(logprobs, old_logprobs, mask)

        corrected = weights
        if self.importance_cap:
            mismatch = jax.lax.stop_gradient(importance_ratio(old_logprobs, sampler_logprobs, mask))
            corrected = weights * jnp.minimum(mismatch, self.importance_cap)

        total = self.surrogate_loss(ratio, corrected, advantages, self.clip_low, self.clip_high)
        if reference_logprobs is not None:
            divergence = self.kl(jnp.where(mask, logprobs, 0.0), jnp.where(mask, reference_logprobs, 0.0))
            total += self.kl_coef * (weights * divergence).sum()
        return LossSum(total, self.aggregation.share(lengths).sum())


# name -> advantage estimator (given the settings it reads), surrogate
OBJECTIVES: Mapping[str, tuple[Callable[[ObjectiveConfig], Estimator], SurrogateLoss]] = {
    "two_grpo": (lambda c: partial(estimators.contrastive_advantages, tolerance=c.no_signal_tolerance), two_grpo_loss),
    "n_vs_m": (lambda c: partial(estimators.contrastive_advantages, tolerance=c.no_signal_tolerance), n_vs_m_loss),
    "grpo": (
        lambda c: partial(
            estimators.group_normalized, ddof=c.std_ddof, epsilon=c.std_epsilon, tolerance=c.no_signal_tolerance
        ),
        clipped_loss,
    ),
    "rloo": (lambda c: partial(estimators.leave_one_out, tolerance=c.no_signal_tolerance), clipped_loss),
    # Its advantage. Dr. GRPO as published also has aggregation "constant".
    "dr_grpo": (lambda c: partial(estimators.mean_centered, tolerance=c.no_signal_tolerance), clipped_loss),
}


def make_objective(config: ObjectiveConfig) -> Objective:
    """The objective that a configuration names. Raises ConfigError if there is none of that name."""
    if config.name not in OBJECTIVES:
        raise ConfigError(f"objective.name={config.name!r}: unknown; {did_you_mean(config.name, list(OBJECTIVES))}")
    estimator, surrogate_loss = OBJECTIVES[config.name]
    return Objective(
        advantages=estimator(config),
        surrogate_loss=surrogate_loss,
        aggregation=AGGREGATIONS[config.aggregation],
        clip_low=config.clip_low,
        clip_high=config.clip_high,
        kl_coef=config.kl_coef,
        kl=KL_ESTIMATORS[config.kl_estimator],
        importance_cap=config.importance_cap,
    )
