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


class EngineError(RuntimeError):
    """An engine cannot go on sampling. The text says what the user can do."""


@dataclass(frozen=True)
class Capabilities:
    """The capabilities of an engine. A configuration that needs others is refused before anything is computed."""

    counter_exact: bool  # a completion depends on weights, prompt and counter alone: it can be sampled again by itself
    coupled_noise: bool  # the completions of a group can share their noise; see `grpo_jax.sampling.noise`
    exact_logprobs: bool  # log-probabilities equal the trainer's up to rounding, so the ratio may use them
    vocab_size: int  # token ids from here on are refused
    # It samples elsewhere, so it can work while the devices compute an update; see `RolloutConfig.delay`.
    concurrent: bool = False


@dataclass(frozen=True)
class SamplingRequest:
    """How to sample the groups of some prompts."""

    sampling: SamplingConfig
    group_size: int  # G, completions of each prompt
    counter: Counter  # seed, stream and step; with a prompt's id they decide its random numbers
    prompts_per_batch: int  # how many prompts an engine prefills and gives back at once, if it works in batches
    noise: str = "independent"  # a key of `NOISES`
    version: int | None = None  # the weights that must sample, by `RolloutEngine.load`; None: any
    # The expected length of each prompt's completions, estimated from earlier ones. Completions do not depend on it,
    # and an engine may ignore it.
    expected_lengths: Float[np.ndarray, " N"] | None = None


class FinishedGroups(NamedTuple):
    """Some groups of a request, which need not come in the request's order."""

    indices: Sequence[int]  # of their prompts in the request
    rollouts: Rollouts  # host arrays
    version: int  # of the weights that sampled them


class RolloutEngine(Protocol):
    """Samples groups of completions. Every process of a run calls it alike."""

    @property
    def capabilities(self) -> Capabilities:
        """The capabilities of this engine."""

    def load(self, weights: Params, version: int) -> None:
        """Sample with these weights from now on.

        Args:
          weights: in the compute dtype and laid out for sampling, with adapters merged, unless the engine's section
            asks for adapters alone. With `rollout.quantization` kernels are in int8, with adapters beside them, but not
            for evaluations.
          version: the training step after which the policy had them.
        """

    def unload(self) -> None:
        """Release the weights, because an update needs the memory. Called only when no request is under way."""

    def sample(self, prompts: PromptBatch, request: SamplingRequest) -> Iterator[FinishedGroups]:
        """Return every prompt's group once, as groups finish.

        A concurrent engine begins at the call, others at the first `next`. The engine continues to sample while the
        caller works on the groups that it was given. If the caller stops iterating, the remaining groups need not be
        sampled. The caller refuses groups that cannot be used (`check_finished`).

        Args:
          prompts: host arrays.
        """

    def close(self) -> None:
        """Release all resources of the engine, such as another process."""
