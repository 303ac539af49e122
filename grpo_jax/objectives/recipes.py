"""The objectives by name: which advantages, which surrogate, which aggregation. docs/objectives.md has the formulas."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from grpo_jax.objectives import (
    advantages,
    batch_advantages,
    historical_advantages,
    paper_surrogates,
    preferences,
    surrogates,
)


@dataclass(frozen=True)
class Recipe:
    """An objective whose parameters are still open.

    A configuration sets the keyword-only parameters of the two functions: `clip_low`, `clip_high`, `ddof`, `epsilon`
    and `tolerance` by fields of the section `objective`, all others by their names in `objective.parameters`. A value
    outside of the `grpo_jax.config.Range` in a parameter's annotation is refused.
    """

    advantages: Callable[..., Any]  # an Estimator
    surrogate: Callable[..., Any]  # a Surrogate
    aggregation: str = "sequence"  # the published one: a key of AGGREGATIONS
    group_size: int | None = None  # the only size of groups that it is defined for; None: any size
    unit_rewards: bool = False  # whether its formulas are for rewards from 0 to 1 alone; others are refused
    needs_reference: bool = False  # whether its surrogate depends on the base policy's log-probabilities
    needs_success: bool = False  # whether its advantages depend on the prompts' chance to be right, `Outcomes.success`


_clipped = surrogates.clipped
_reinforcement = batch_advantages.reinforcement

OBJECTIVES: Mapping[str, Recipe] = {
    # The paper's objectives, by the paper's formulas.
    "two_grpo": Recipe(advantages.contrastive, paper_surrogates.two_grpo, group_size=2),
    "n_vs_m": Recipe(advantages.contrastive, paper_surrogates.n_vs_m),
    "two_grpo_rescaled": Recipe(advantages.rescaled, _clipped, group_size=2, needs_success=True),
    # Advantages of pairs and groups with a history.
    "history_baseline": Recipe(historical_advantages.historical, _clipped, "sum"),
    # Advantages of groups, PPO's clip.
    "grpo": Recipe(advantages.group_normalized, _clipped),
    "dapo": Recipe(advantages.group_normalized, _clipped, "token"),
    "dr_grpo": Recipe(advantages.mean_centered, _clipped, "constant"),
    "ctr_grpo": Recipe(advantages.mean_centered, _clipped),
    "f_grpo": Recipe(advantages.focal, _clipped, unit_rewards=True),
    "rloo": Recipe(advantages.leave_one_out, _clipped, "sum"),
    "lite_ppo": Recipe(batch_advantages.batch_scaled, _clipped, "token"),
    "reinforce_pp": Recipe(batch_advantages.batch_normalized, _clipped, "token"),
    "reinforce_pp_baseline": Recipe(batch_advantages.centered_batch_normalized, _clipped, "token"),
    # Other surrogates.
    "grpo_dual_clip": Recipe(advantages.group_normalized, surrogates.dual_clipped),
    "gspo": Recipe(advantages.group_normalized, surrogates.sequence_clipped),
    "gmpo": Recipe(advantages.group_normalized, surrogates.geometric_mean),
    "cispo": Recipe(advantages.group_normalized, surrogates.clipped_weight, "token"),
    "sapo": Recipe(advantages.group_normalized, surrogates.soft_gated),
    "gpg": Recipe(advantages.mean_centered, surrogates.policy_gradient, "token"),
    "opo": Recipe(advantages.length_weighted, surrogates.policy_gradient, "sum"),
    # Right or wrong completions alone.
    "psr": Recipe(partial(_reinforcement, negative_weight=0.0), _clipped, "token", unit_rewards=True),
    "nsr": Recipe(partial(_reinforcement, positive_weight=0.0), _clipped, "token", unit_rewards=True),
    "w_reinforce": Recipe(partial(_reinforcement, positive_weight=0.1), _clipped, "token", unit_rewards=True),
    # Right completions against wrong ones.
    "online_dpo": Recipe(advantages.contrastive, preferences.logistic, "sum", needs_reference=True),
    "ipo": Recipe(advantages.contrastive, preferences.squared, "sum", needs_reference=True),
    "simpo": Recipe(advantages.contrastive, partial(preferences.logistic, beta=2.0, margin=1.0)),
    "disco": Recipe(advantages.contrastive, preferences.discriminative),
}
