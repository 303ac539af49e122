"""The pytrees that flow through a step, and the letters of axes, each of which means the same in the whole package.

    N  prompts
    G  completions of a group, all of one prompt
    P  prompt tokens
    C  completion tokens
    K  micro-batches of a minibatch
    M  groups of a micro-batch
    B  rows, when they are not groups
    T  tokens of a row: of a text, or of a prompt and the completions that share it
    L  lanes of the sampler
    W  batches of prompts in flight in the sampler
    U  units that lanes take, each a completion or a whole group
    E  completions of a unit, or of a row that holds its prompt once
    D  features of a hidden state
    V  entries of the vocabulary
    S  rollouts of a prompt that an analysis cuts into groups
    R  ways to cut them

Other axes have words: heads, layers. tests/test_axes.py looks for letters that are not in this table.

Three conventions hold everywhere:
  * The group is an axis, so nothing can split a pair by accident.
  * Padding is on the right, and only lengths describe it; no token id means padding.
  * `logprobs[..., t]` belongs to `tokens[..., t]`.

The type checker sees the leaves as `Any`: arrays on the host or on the devices, or their shapes and shardings.
"""

import enum
from dataclasses import dataclass
from typing import Any, TypeAlias

import jax
import numpy as np
from jaxtyping import Float, Int, UInt32

Params: TypeAlias = dict[str, Any]  # nested; the leaves are arrays


class StopReason(enum.IntEnum):
    """Why a completion ended. Lengths do not say whether it was truncated: a whole one may have the maximum length."""

    LENGTH = 0  # cut off at the maximum length
    STOP = 1  # the model sampled a stop token


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class PromptBatch:
    """Prompts, as a rollout engine takes them."""

    ids: UInt32[Any, " N"]  # hashes of the prompts' texts, the same in every run; every sampling key contains one
    tokens: Int[Any, "N P"]
    lengths: Int[Any, " N"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True)
class Rollouts:
    """Groups of completions, as a rollout engine returns them."""

    prompt_tokens: Int[Any, "N P"]
    prompt_lengths: Int[Any, " N"]
    completion_tokens: Int[Any, "N G C"]
    completion_lengths: Int[Any, "N G"]  # the stop token included
    logprobs: Float[Any, "N G C"]  # of each token under the distribution it was sampled from; 0 after the end
    stop_reasons: Int[Any, "N G"]  # a StopReason


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True)
class Groups:
    """Whole groups, as an update takes them: [M], or [K, M] when stacked into micro-batches.

    The policy reads the tokens, and the objective reads everything else.
    """

    prompt_tokens: Int[Any, "*M P"]
    prompt_lengths: Int[Any, "*M"]
    completion_tokens: Int[Any, "*M G C"]
    completion_lengths: Int[Any, "*M G"]  # 0 for padding, which does not count
    advantages: Float[Any, "*M G"]  # from `Objective.advantages`, over the whole batch of rollouts
    prompt_weights: Float[Any, "*M"]  # factors of the groups' losses: 1, unless prompts are selected by chance
    sampler_logprobs: Float[Any, "*M G C"]  # under the distribution that the tokens were sampled from
    old_logprobs: Float[Any, "*M G C"] | None  # by the trainer; None: the ratio is taken to sampler_logprobs
    reference_logprobs: Float[Any, "*M G C"] | None  # of the reference policy; None: the objective needs none

    @classmethod
    def without_texts(
        cls,
        *,
        completion_lengths: Int[Any, "*M G"],
        advantages: Float[Any, "*M G"],
        sampler_logprobs: Float[Any, "*M G C"],
        old_logprobs: Float[Any, "*M G C"] | None = None,
        reference_logprobs: Float[Any, "*M G C"] | None = None,
    ) -> "Groups":
        """Return groups for an objective without a policy. Completion i repeats token i, so no two begin alike."""
        return cls(
            prompt_tokens=np.zeros((*completion_lengths.shape[:-1], 1), np.int32),
            prompt_lengths=np.ones(completion_lengths.shape[:-1], np.int32),
            completion_tokens=np.broadcast_to(
                np.arange(sampler_logprobs.shape[-2], dtype=np.int32)[:, None], sampler_logprobs.shape
            ),
            completion_lengths=completion_lengths,
            advantages=advantages,
            prompt_weights=np.ones(completion_lengths.shape[:-1], np.float32),
            sampler_logprobs=sampler_logprobs,
            old_logprobs=old_logprobs,
            reference_logprobs=reference_logprobs,
        )

    @property
    def ratio_denominator(self) -> Float[Any, "*M G C"]:
        """The log-probabilities in the denominator of the importance ratio."""
        return self.sampler_logprobs if self.old_logprobs is None else self.old_logprobs


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class UpdateBatch:
    """One minibatch: the groups that an optimizer step learns from."""

    groups: Groups  # K micro-batches of M groups
    # How many micro-batches are computed in each bucket (grpo_jax/training/batching.py). They come first, bucket by
    # bucket; the micro-batches after them hold no group.
    filled: Int[Any, " buckets"]
    dropped_weight: Float[Any, ""]  # how much the groups that were left out add to the loss's denominator


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TrainState:
    """The state that an update changes."""

    params: Params  # all of the policy's parameters, including those that are not trained
    opt_state: Any  # Optax's state of the parameters that are trained
    updates: Int[Any, ""]  # optimizer steps taken, not counting skipped ones
    nonfinite_in_a_row: Int[Any, ""]  # updates skipped since the last finite one
