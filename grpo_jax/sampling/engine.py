"""The boundary behind which completions are sampled: token ids in, token ids and log-probabilities out.

Training, evaluation, suites, the gradient analysis and replay get every completion from a `RolloutEngine`, and none of
them knows how it samples. `JaxEngine` is the reference. CONTRIBUTING.md shows how to add another.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from jaxtyping import Float

from grpo_jax.config import SamplingConfig
from grpo_jax.randomness import Counter
from grpo_jax.types import Params, PromptBatch, Rollouts


@dataclass(frozen=True)
class Capabilities:
    """What an engine can do. A run that needs more refuses it before anything is computed."""

    counter_exact: bool  # a completion depends on weights, prompt and counter alone: it can be sampled again by itself
    coupled_noise: bool  # the completions of a group can share their noise; see `grpo_jax.sampling.noise`
    exact_logprobs: bool  # log-probabilities are the trainer's own but for rounding, so they may stand in for them
    vocab_size: int  # token ids from here on are refused


@dataclass(frozen=True)
class SamplingRequest:
    """How to sample the groups of some prompts."""

    sampling: SamplingConfig
    group_size: int  # G, completions of each prompt
    counter: Counter  # seed, stream and step; with a prompt's id they decide its random numbers
    prompts_per_batch: int  # how many prompts an engine prefills and gives back at once, if it works in batches
    noise: str = "independent"  # a key of `NOISES`
    # Of each prompt's completions, as far as earlier ones tell. Completions do not depend on it, and an engine may
    # ignore it.
    expected_lengths: Float[np.ndarray, " N"] | None = None


class FinishedGroups(NamedTuple):
    """Some groups of a request, which need not come in the request's order."""

    places: Sequence[int]  # of their prompts in the request
    rollouts: Rollouts  # host arrays
    version: int  # of the weights that sampled them


class RolloutEngine(Protocol):
    """Samples groups of completions. Every process of a run calls it alike."""

    @property
    def capabilities(self) -> Capabilities:
        """What this engine can do."""

    def load(self, weights: Params, version: int) -> None:
        """Take the weights that sample from now on.

        Args:
          weights: of the policy without adapters, in the compute dtype and laid out for sampling.
          version: the training step that they come after.
        """

    def unload(self) -> None:
        """Let go of the weights: an update needs the room."""

    def sample(self, prompts: PromptBatch, request: SamplingRequest) -> Iterator[FinishedGroups]:
        """Yield every prompt's group once, as groups finish.

        The engine goes on sampling while the caller works on what it was given. A caller that stops iterating gives up
        the rest.

        Args:
          prompts: host arrays.
        """

    def close(self) -> None:
        """Release what the engine holds, such as another process."""
