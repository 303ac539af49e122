"""Make minibatches from a batch of rollouts.

The groups outside the mask `keep`, which `training/loop.py` makes, are dropped. The others are sorted into
micro-batches of similar lengths, and each micro-batch is computed in the smallest bucket that holds it.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from grpo_jax.objectives import Aggregation
from grpo_jax.types import Groups, Rollouts, UpdateBatch

SHORTEST = 32  # tokens; with fewer, matrix products take nearly as long


class Bucket(NamedTuple):
    """The widths to which the tokens of a micro-batch are cut before the policy reads them."""

    prompt: int
    completion: int


def buckets(prompt_tokens: int, completion_tokens: int) -> tuple[Bucket, ...]:
    """Return the buckets of a run, the widest first; at most three.

    An update is one program with a loop for each bucket, so the time to compile it grows with their number. (With six,
    libtpu 0.0.52 could not compile unrolled layers at all.) Completions' lengths spread widely, so their width is
    halved twice. (Completions of geometric length, with a mean of a quarter of the room, cost .53 of full width in
    groups of two; a third halving would make that .51.) The longest problem of a data set decides the prompts' width,
    and most prompts are far shorter, so all buckets but the widest have a quarter of it.

    Args:
      prompt_tokens: P.
      completion_tokens: C.
    """
    whole = Bucket(prompt_tokens, completion_tokens)
    short, widths = _widths(prompt_tokens, (1, 4))[-1], _widths(completion_tokens, (1, 2, 4))
    narrower = (Bucket(short, width) for width in widths[1:] or widths)
    return (whole, *(bucket for bucket in narrower if bucket != whole))


def buckets_of(groups: Groups) -> tuple[Bucket, ...]:
    """Return the buckets of a run, given groups of full width."""
    return buckets(groups.prompt_tokens.shape[-1], groups.completion_tokens.shape[-1])


def _widths(whole: int, divisors: Sequence[int]) -> list[int]:
    return [whole, *(-(-whole // divisor) for divisor in divisors[1:] if whole >= SHORTEST * divisor)]


def narrowest(
    choice: Sequence[Bucket], prompt_lengths: Int[np.ndarray, "*any"], completion_lengths: Int[np.ndarray, "*any"]
) -> Int[np.ndarray, "*any"]:
    """Return the index of the narrowest bucket that has room for the prompt and the longest completion."""
    room = np.array(choice)
    holds = (prompt_lengths[..., None] <= room[:, 0]) & (completion_lengths[..., None] <= room[:, 1])
    return len(choice) - 1 - np.argmax(holds[..., ::-1], axis=-1)


def make_minibatches(
    rollouts: Rollouts,
    advantages: Float[np.ndarray, "N G"],
    keep: Bool[np.ndarray, " N"],
    *,
    minibatches: int,
    microbatch_groups: int,
    aggregation: Aggregation,
    denominator: str,
    prompt_weights: Float[np.ndarray, " N"] | None = None,
) -> Iterator[UpdateBatch]:
    """Yield a minibatch, as host arrays, for each part of the rollout batch that keeps at least one group.

    All have the same shape, so one compiled update serves them all. The groups that are kept are moved to the front,
    sorted by bucket, and the update loops over the filled micro-batches only. So a dropped group never reaches the
    model. All hosts sort alike, because all have the same arrays.

    Args:
      rollouts: host arrays.
      keep: the groups to learn from. The others are dropped.
      minibatches: the number of consecutive, equal parts of the prompts; each is one optimizer step.
      microbatch_groups: M, which divides N / minibatches.
      denominator: "sampled" counts dropped groups in the loss's average, "valid" does not.
      prompt_weights: factors of the groups' losses, which do not change the denominator; None: all are 1.
    """
    if prompt_weights is None:
        prompt_weights = np.ones(len(keep), np.float32)
    for part in np.split(np.arange(len(keep)), minibatches):
        kept, dropped = part[keep[part]], part[~keep[part]]
        if len(kept) == 0:
            continue
        indices, filled = _arrange(rollouts, kept, len(part), microbatch_groups)
        lengths = rollouts.completion_lengths[dropped]
        dropped_weight = aggregation.denominator(lengths).sum() if denominator == "sampled" else 0.0
        yield UpdateBatch(
            groups=_select(rollouts, advantages, prompt_weights, indices),
            filled=filled.astype(np.int32),
            dropped_weight=np.float32(dropped_weight),
        )


def _arrange(
    rollouts: Rollouts, kept: Int[np.ndarray, " kept"], size: int, microbatch_groups: int
) -> tuple[Int[np.ndarray, "K M"], Int[np.ndarray, " buckets"]]:
    """Return the groups of each micro-batch (-1: none), and how many micro-batches each bucket has.

    Groups of one bucket keep their order.
    """
    prompts, completions = rollouts.prompt_lengths, rollouts.completion_lengths.max(axis=1)
    choice = buckets(rollouts.prompt_tokens.shape[1], rollouts.completion_tokens.shape[2])
    indices = np.full((size // microbatch_groups, microbatch_groups), -1)
    indices.flat[: len(kept)] = kept[np.argsort(narrowest(choice, prompts[kept], completions[kept]), kind="stable")]
    computed = indices[: -(-len(kept) // microbatch_groups)]

    def longest(lengths: Int[np.ndarray, " N"]) -> Int[np.ndarray, " computed"]:
        return np.where(computed >= 0, lengths[computed], 0).max(axis=1)

    # A micro-batch that holds the last groups of one bucket and the first of the next may need a third bucket.
    needed = narrowest(choice, longest(prompts), longest(completions))
    indices[: len(computed)] = computed[np.argsort(needed, kind="stable")]
    return indices, np.bincount(needed, minlength=len(choice))


def _select(
    rollouts: Rollouts, advantages: np.ndarray, prompt_weights: np.ndarray, indices: Int[np.ndarray, "K M"]
) -> Groups:
    """Return the groups with these indices; -1 stands for a group whose completions have length 0."""

    def take(array: np.ndarray) -> np.ndarray:
        out = array[indices]
        out[indices < 0] = 0
        return out

    return Groups(
        prompt_tokens=take(rollouts.prompt_tokens),
        prompt_lengths=np.maximum(take(rollouts.prompt_lengths), 1),  # the policy takes no prompt of length 0
        completion_tokens=take(rollouts.completion_tokens),
        completion_lengths=take(rollouts.completion_lengths),
        advantages=take(advantages),
        prompt_weights=take(prompt_weights),
        sampler_logprobs=take(rollouts.logprobs),
        old_logprobs=None,
        reference_logprobs=None,
    )
