"""Resampling: groups without signal are replaced by groups of new prompts ("2-GRPO+RS", arXiv 2510.00977, section 4.3).

With `rollout.max_rollouts`, a step samples more batches of prompts until every group of the step carries signal, until
that many rollouts have been sampled, or until the epoch has too few prompts left for another batch.

Here a group carries signal if it would as the only group of its step (`Objective.advantages_alone`). Under
`reinforce_pp`, whose baseline is the step's, these are the groups whose own rewards differ: signal that a group has
beside others may be lost when these are left out of the step.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jaxtyping import Bool, Float

from grpo_jax.config import RolloutConfig
from grpo_jax.objectives import Outcomes


def wants_more(rollout: RolloutConfig, signal: Bool[np.ndarray, " sampled"], left: int) -> bool:
    """Return whether to sample one more batch of prompts, to replace groups without signal.

    Args:
      signal: which of the groups that the step has sampled so far carry signal alone.
      left: the number of prompts left in the epoch. Beyond that number prompts would repeat.
    """
    room = min(rollout.max_rollouts // rollout.group_size - len(signal), left)
    return int(signal.sum()) < rollout.prompts_per_step and room >= rollout.prompts_per_batch


def choose_groups(signal: Bool[np.ndarray, " sampled"], groups: int) -> Bool[np.ndarray, " sampled"]:
    """Return a mask of the `groups` sampled groups that make up the step: those with signal first, then the others.

    Without resampling these are all groups. With it, a replaced group no longer belongs to the step. It counts neither
    in the gradient nor in the loss's denominator.
    """
    order = np.argsort(~signal, kind="stable")[:groups]
    chosen = np.zeros(len(signal), bool)
    chosen[order] = True
    return chosen


def estimate_together(
    estimate: Callable[[Outcomes], Any],
    outcomes: Outcomes,
    alone: Float[np.ndarray, "N G"],
    chosen: Bool[np.ndarray, " N"],
) -> Float[np.ndarray, "N G"]:
    """Return the advantages of all sampled groups: of the chosen ones together, and of each other one alone.

    An estimator whose baseline is the step's must not see groups that were replaced.
    """
    advantages = alone.copy()
    advantages[chosen] = estimate(jax.tree.map(lambda array: array[chosen], outcomes))
    return advantages
