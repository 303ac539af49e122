"""Make minibatches from a batch of rollouts.

Groups that the step does not learn from are left out here: those without signal, unless there is a KL term, which needs
every group.
"""

import dataclasses
import math
from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float

from grpo_jax.objectives import Aggregation
from grpo_jax.types import Groups, Rollouts, UpdateBatch


def make_minibatches(
    rollouts: Rollouts,
    advantages: Float[np.ndarray, "N G"],
    keep: Bool[np.ndarray, " N"],
    *,
    minibatches: int,
    microbatch_groups: int,
    aggregation: Aggregation,
    denominator: str,
) -> Iterator[UpdateBatch]:
    """Yield, as host arrays, each minibatch of a rollout batch that keeps a group.

    All have the same shape, so one compiled update serves them all. The groups that are kept are moved to the front,
    and the update loops over the filled micro-batches only. So a dropped group never reaches the model.

    Args:
      rollouts: host arrays.
      keep: the groups to learn from. The others are dropped.
      minibatches: the number of consecutive, equal parts of the prompts; each is one optimizer step.
      microbatch_groups: M, which divides N / minibatches.
      denominator: "sampled" counts dropped groups in the loss's average, "valid" does not.
    """
    for part in np.split(np.arange(len(keep)), minibatches):
        kept, dropped = part[keep[part]], part[~keep[part]]
        if len(kept) == 0:
            continue
        groups = _select(rollouts, advantages, kept, len(part))
        lengths = rollouts.completion_lengths[dropped]
        dropped_weight = aggregation.denominator(lengths).sum() if denominator == "sampled" else 0.0
        yield UpdateBatch(
            groups=_stack(groups, microbatch_groups),
            filled=np.int32(math.ceil(len(kept) / microbatch_groups)),
            dropped_weight=np.float32(dropped_weight),
        )


def _select(rollouts: Rollouts, advantages: np.ndarray, kept: np.ndarray, size: int) -> Groups:
    """Return the groups that are kept, padded to `size` with groups whose completions have length 0."""

    def take(array: np.ndarray) -> np.ndarray:
        out = np.zeros((size, *array.shape[1:]), array.dtype)
        out[: len(kept)] = array[kept]
        return out

    return Groups(
        prompt_tokens=take(rollouts.prompt_tokens),
        prompt_lengths=np.maximum(take(rollouts.prompt_lengths), 1),  # the policy takes no prompt of length 0
        completion_tokens=take(rollouts.completion_tokens),
        completion_lengths=take(rollouts.completion_lengths),
        advantages=take(advantages),
        sampler_logprobs=take(rollouts.logprobs),
        old_logprobs=None,
        reference_logprobs=None,
    )


def _stack(groups: Groups, microbatch_groups: int) -> Groups:
    def stack(array: np.ndarray | None) -> np.ndarray | None:
        return None if array is None else array.reshape(-1, microbatch_groups, *array.shape[1:])

    return Groups(**{field.name: stack(getattr(groups, field.name)) for field in dataclasses.fields(groups)})
