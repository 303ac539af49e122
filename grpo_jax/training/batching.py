"""Make minibatches from a batch of rollouts.

Groups that the step does not learn from are left out here: those without signal, unless there is a KL term, which needs
every group.
"""

import dataclasses
from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float

from grpo_jax.objectives import Aggregation
from grpo_jax.types import Groups, Rollouts, UpdateBatch


def make_minibatches(
    rollouts: Rollouts,
    advantages: Float[np.ndarray, "N G"],
    wanted: Bool[np.ndarray, " N"],
    *,
    minibatches: int,
    microbatch_groups: int,
    aggregation: Aggregation,
    denominator: str,
) -> Iterator[UpdateBatch]:
    """Yield the minibatches of a rollout batch as host arrays, without those that have no wanted group.

    All have the same shape, so one compiled update serves them all. Wanted groups are moved to the front, and the
    update loops over the filled micro-batches only. So a group that is not wanted never reaches the model.

    Args:
      rollouts: host arrays.
      wanted: the groups to learn from.
      minibatches: the number of consecutive, equal parts of the prompts; each is one optimizer step.
      microbatch_groups: M, which divides N / minibatches.
      denominator: "sampled" counts dropped groups in the loss's average, "valid" does not.
    """
    for part in np.split(np.arange(len(wanted)), minibatches):
        chosen, left_out = part[wanted[part]], part[~wanted[part]]
        if len(chosen) == 0:
            continue
        groups = _select(rollouts, advantages, chosen, len(part))
        dropped = aggregation.share(rollouts.completion_lengths[left_out]).sum() if denominator == "sampled" else 0.0
        yield UpdateBatch(
            groups=_stack(groups, microbatch_groups),
            filled=np.int32(-(-len(chosen) // microbatch_groups)),
            dropped_weight=np.float32(dropped),
        )


def _select(rollouts: Rollouts, advantages: np.ndarray, chosen: np.ndarray, room: int) -> Groups:
    """Return the chosen groups, followed by padding groups of length 0."""

    def take(array: np.ndarray) -> np.ndarray:
        out = np.zeros((room, *array.shape[1:]), array.dtype)
        out[: len(chosen)] = array[chosen]
        return out

    return Groups(
        prompt_tokens=take(rollouts.prompt_tokens),
        prompt_lengths=np.maximum(take(rollouts.prompt_lengths), 1),  # a prompt is never empty
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
