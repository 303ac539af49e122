"""The pytrees that flow through a step, and the letters of axes, each of which means the same in the whole package.

    N  prompts
    G  completions of a group, all of one prompt
    P  prompt tokens
    C  completion tokens
    K  micro-batches of a minibatch
    M  groups of a micro-batch
    B  rows, when they are not groups
    T  tokens of a row, P + C if it is a prompt and its completion
    D  features of a hidden state
    V  entries of the vocabulary
    S  rollouts of a prompt that an analysis cuts into groups
    R  ways to cut them

Other axes have words: heads, layers. tests/test_axes.py looks for letters that are not in this table.

Three conventions hold everywhere:
  * The group is an axis, so nothing can split a pair by accident.
  * Padding is on the right and known by lengths alone; no token id means padding.
  * `logprobs[..., t]` belongs to `tokens[..., t]`.

The leaves are `Any` to the type checker: arrays on the host or on the devices, or shapes and shardings of them.
"""

import enum
from dataclasses import dataclass
from typing import Any, TypeAlias

import jax
import numpy as np
from jaxtyping import Float, Int, UInt32

Params: TypeAlias = dict[str, Any]  # nested; the leaves are arrays


class StopReason(enum.IntEnum):
    """Why a completion ended. Only this tells a truncated one: its length may be the maximum and it still be whole."""

    LENGTH = 0  # cut off at the maximum length
    STOP = 1  # the model sampled a stop token


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class PromptBatch:
    """Prompts as the sampler takes them."""

    ids: UInt32[Any, " N"]  # of the prompt's text, the same in every run: part of every sampling key
    tokens: Int[Any, "N P"]
    lengths: Int[Any, " N"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True)
class Rollouts:
    """Groups of completions, as the sampler returns them."""

    prompt_tokens: Int[Any, "N P"]
    prompt_lengths: Int[Any, " N"]
    completion_tokens: Int[Any, "N G C"]
    completion_lengths: Int[Any, "N G"]  # the stop token included
    logprobs: Float[Any, "N G C"]  # of each sampled token under the distribution it was drawn from; 0 past the end
    stop_reasons: Int[Any, "N G"]  # a StopReason


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True)
class Groups:
    """Whole groups as an update sees them: [M], or [K, M] when stacked into micro-batches.

    The policy reads the tokens, and an objective the rest.
    """

    prompt_tokens: Int[Any, "*M P"]
    prompt_lengths: Int[Any, "*M"]
    completion_tokens: Int[Any, "*M G C"]
    completion_lengths: Int[Any, "*M G"]  # 0 for padding, which counts nowhere
    advantages: Float[Any, "*M G"]  # from `Objective.advantages`, over the whole batch of rollouts
    sampler_logprobs: Float[Any, "*M G C"]  # of the distribution drawn from
    old_logprobs: Float[Any, "*M G C"] | None  # by the trainer; None: the sampler's are the ratio's denominator
    reference_logprobs: Float[Any, "*M G C"] | None  # of the reference policy; None: the objective asks for none

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
        """Return groups for an objective without a policy: all tokens are 0."""
        return cls(
            prompt_tokens=np.zeros((*completion_lengths.shape[:-1], 1), np.int32),
            prompt_lengths=np.ones(completion_lengths.shape[:-1], np.int32),
            completion_tokens=np.zeros(sampler_logprobs.shape, np.int32),
            completion_lengths=completion_lengths,
            advantages=advantages,
            sampler_logprobs=sampler_logprobs,
            old_logprobs=old_logprobs,
            reference_logprobs=reference_logprobs,
        )

    @property
    def ratio_denominator(self) -> Float[Any, "*M G C"]:
        """The log-probabilities that the importance ratio divides by."""
        return self.sampler_logprobs if self.old_logprobs is None else self.old_logprobs


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class UpdateBatch:
    """One minibatch: the groups that an optimizer step learns from."""

    groups: Groups  # K micro-batches of M groups
    filled: Int[Any, ""]  # the first so many micro-batches hold any group; the rest costs nothing
    dropped_weight: Float[Any, ""]  # what the groups left out add to the loss's denominator


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TrainState:
    """All that an update changes."""

    params: Params  # all of the policy's, those that are not trained among them
    opt_state: Any  # optax's, of the parameters that are trained
    updates: Int[Any, ""]  # optimizer steps taken, skipped ones not counted
    nonfinite_in_a_row: Int[Any, ""]  # updates skipped since the last one that was finite
