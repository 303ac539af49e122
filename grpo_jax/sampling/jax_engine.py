"""The reference engine: the JAX sampler, on the devices that train or on others."""

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeAlias, TypeVar

import jax
import numpy as np
from jax.sharding import NamedSharding
from jaxtyping import Float, Int

from grpo_jax.processes import put
from grpo_jax.sampling.ahead import one_ahead
from grpo_jax.sampling.engine import Capabilities, FinishedGroups, SamplingRequest
from grpo_jax.sampling.lane_counts import batches_in_flight
from grpo_jax.sampling.programs import SamplingPrograms, Whole
from grpo_jax.sampling.speculation import EarlierCompletions
from grpo_jax.sharding import batch_shards
from grpo_jax.types import Params, PromptBatch, Rollouts

T = TypeVar("T")
Rows: TypeAlias = Int[np.ndarray, " B"]  # the indices of a batch's prompts in the request; -1: none


class JaxEngine:
    """The engine that samples batches of equal size. While one is fetched and judged, the devices sample the next."""

    def __init__(
        self,
        programs: SamplingPrograms,
        *,
        vocab_size: int,
        batch: NamedSharding,
        replicated: NamedSharding,
        exact_logprobs: bool = True,
        to_devices: Callable[[Params], Params] | None = None,
        earlier: EarlierCompletions | None = None,
    ):
        """Make an engine without weights.

        Args:
          vocab_size: of the policy.
          batch: where prompts lie.
          replicated: where the counter lies.
          exact_logprobs: whether its weights are the trainer's, and not quantised.
          to_devices: copies weights to devices that only sample; None: they are there already.
          earlier: keeps the completions in which drafts are looked up; None: there are no drafts.
        """
        self._programs = programs
        self._batch, self._replicated, self._to_devices = batch, replicated, to_devices
        self._weights: Params | None = None
        self._version = 0
        self._earlier = earlier
        self.capabilities = Capabilities(
            counter_exact=True,
            coupled_noise=True,
            exact_logprobs=exact_logprobs,
            vocab_size=vocab_size,
            concurrent=to_devices is not None,
        )

    def load(self, weights: Params, version: int) -> None:
        """Sample with these weights from now on."""
        self._weights = weights if self._to_devices is None else self._to_devices(weights)
        self._version = version

    def unload(self) -> None:
        """Release the weights."""
        self._weights = None

    def sample(self, prompts: PromptBatch, request: SamplingRequest) -> Iterator[FinishedGroups]:
        """Return the groups of each batch.

        The devices are given at most two batches at a time, so that a stop is obeyed after one. Devices that do nothing
        else are given all at once, because the host has other work. The last batch is filled up with prompts without
        tokens, so that one compiled program serves all batches. The groups of these prompts are discarded.
        """
        if self._weights is None:
            raise RuntimeError("the engine has no weights: load some before sampling")
        batches: Iterable[tuple[Rows, Rollouts]] = self._batches(self._weights, prompts, request)
        if self.capabilities.concurrent:
            batches = list(batches)
        return self._fetched(batches, prompts, self._version)

    def whole(self, request: SamplingRequest, prompts: int, width: int) -> Whole | None:
        """Return the program that samples whole batches of a request; None if its completions are decoded in lanes.

        Args:
          prompts: of the request.
          width: P.
        """
        lanes = self._programs.lanes(prompts, request.prompts_per_batch, request.group_size, width)
        return None if lanes else self._programs.whole(request.sampling, request.group_size, request.noise)

    def close(self) -> None:
        """Release the weights."""
        self.unload()

    def _fetched(
        self, batches: Iterable[tuple[Rows, Rollouts]], prompts: PromptBatch, version: int
    ) -> Iterator[FinishedGroups]:
        for (rows, _), filled in one_ahead(lambda batch: batch[1], batches):
            indices, rollouts = rows[rows >= 0], _at(filled, rows >= 0)
            if self._earlier is not None:
                self._earlier.remember(prompts.ids[indices], rollouts.completion_tokens, rollouts.completion_lengths)
            yield FinishedGroups(indices.tolist(), rollouts, version)

    def _batches(
        self, weights: Params, prompts: PromptBatch, request: SamplingRequest
    ) -> Iterator[tuple[Rows, Rollouts]]:
        """Yield the batches of a request with rollouts that the devices may still be computing."""
        number, at_once, shards = len(prompts.ids), request.prompts_per_batch, batch_shards(self._batch.mesh)
        lanes = self._programs.lanes(number, at_once, request.group_size, prompts.tokens.shape[1])
        in_order = not lanes and number <= at_once  # all are decoded together, so no order is better
        batches = in_batches(number, at_once, shards, None if in_order else request.expected_lengths)
        how = request.sampling, request.group_size, request.noise
        counter = put(request.counter, self._replicated)

        def placed(rows: Rows) -> tuple[PromptBatch, Any]:
            """Return a batch's prompts on the devices, and the completions in which their drafts are looked up."""
            taken = _at(prompts, rows)
            earlier = None if self._earlier is None else self._earlier.of(taken.ids, request.group_size)
            return put((dataclasses.replace(taken, lengths=np.where(rows < 0, 0, taken.lengths)), earlier), self._batch)

        inputs = map(placed, batches)  # each is placed when its turn comes
        if not lanes:
            whole = self._programs.whole(*how)
            for rows, (given, _) in zip(batches, inputs, strict=True):
                yield rows, whole(weights, given, counter)
            return
        in_flight = batches_in_flight(lanes, at_once // shards * request.group_size, len(batches))
        empty, feed, finish = self._programs.continuous(*how, lanes, in_flight)
        first = next(inputs)
        state = empty(weights, first[0], counter, first[1])
        for fed, (given, earlier) in enumerate(itertools.chain([first], inputs), start=1):
            last = put(np.bool_(fed == len(batches)), self._replicated)
            state, oldest = feed(weights, state, given, counter, last, earlier)
            if in_flight <= fed < len(batches):
                yield batches[fed - in_flight], oldest
        yield from zip(batches[-in_flight:], finish(weights, state), strict=True)


def in_batches(
    prompts: int, at_once: int, shards: int, expected_lengths: Float[np.ndarray, " N"] | None
) -> Sequence[Rows]:
    """Return the batches of a request, each of the same size.

    Args:
      prompts: of the request.
      at_once: prompts of a batch, a multiple of `shards`.
      shards: of a batch. Each gets an equal share of the prompts with the longest completions.
      expected_lengths: of the prompts' completions. Prompts with the longest come first, so lanes have work to the end.
    """
    if expected_lengths is None:
        expected_lengths = np.zeros(prompts)
    order = np.argsort(-expected_lengths, kind="stable")
    rows = np.full(-(-prompts // at_once) * at_once, -1)
    rows[:prompts] = order
    return list(rows.reshape(-1, at_once // shards, shards).swapaxes(1, 2).reshape(-1, at_once))


def _at(tree: T, indices: Any) -> T:
    taken: T = jax.tree.map(lambda array: array[indices], tree)
    return taken
