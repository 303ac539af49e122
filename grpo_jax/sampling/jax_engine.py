"""The reference engine: the JAX sampler, on the devices that train."""

from collections.abc import Callable, Iterator

import jax
import numpy as np
from jax.sharding import NamedSharding

from grpo_jax.processes import put
from grpo_jax.sampling.ahead import one_ahead
from grpo_jax.sampling.engine import Capabilities, FinishedGroups, SamplingRequest
from grpo_jax.sampling.sampler import Sampler
from grpo_jax.types import Params, PromptBatch, Rollouts


class JaxEngine:
    """Samples in batches of one size; while one is fetched and judged, the devices sample the next."""

    def __init__(
        self, sampler: Callable[..., Sampler], *, vocab_size: int, batch: NamedSharding, replicated: NamedSharding
    ):
        """Make an engine without weights.

        Args:
          sampler: (sampling, group_size, noise) -> a jitted `Sampler`; it keeps those that it has made.
          batch: where prompts lie.
          replicated: where the counter lies.
        """
        self._sampler = sampler
        self._batch = batch
        self._replicated = replicated
        self._weights: Params | None = None
        self._version = 0
        self.capabilities = Capabilities(
            counter_exact=True, coupled_noise=True, exact_logprobs=True, vocab_size=vocab_size
        )

    def load(self, weights: Params, version: int) -> None:
        """Take the weights that sample from now on."""
        self._weights, self._version = weights, version

    def unload(self) -> None:
        """Let go of the weights."""
        self._weights = None

    def sample(self, prompts: PromptBatch, request: SamplingRequest) -> Iterator[FinishedGroups]:
        """Yield the groups of each batch, in the request's order.

        The last batch is filled up with repetitions of its last prompt, so that one compiled program serves all; their
        groups are thrown away.
        """
        if self._weights is None:
            raise RuntimeError("the engine has no weights: load some before sampling")
        weights, version = self._weights, self._version
        program = self._sampler(request.sampling, request.group_size, request.noise)
        counter = put(request.counter, self._replicated)
        number, at_once = len(prompts.ids), request.prompts_per_batch

        def start(first: int) -> Rollouts:
            rows = np.minimum(np.arange(first, first + at_once), number - 1)
            return program(weights, put(jax.tree.map(lambda array: array[rows], prompts), self._batch), counter)

        for first, filled in one_ahead(start, range(0, number, at_once)):
            places = range(first, min(first + at_once, number))
            yield FinishedGroups(places, _rows(filled, len(places)), version)

    def close(self) -> None:
        """Let go of the weights."""
        self.unload()


def _rows(rollouts: Rollouts, number: int) -> Rollouts:
    return jax.tree.map(lambda array: array[:number], rollouts)
