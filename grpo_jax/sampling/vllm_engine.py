"""An engine that samples with a vLLM server, which reads the policy's weights from a directory.

These are whole weights, or adapters alone, for a server that has the other weights. The engine writes what it is given.

New weights are tried by a canary: a few completions of the request's first prompts, whose log-probabilities by the
server must be the trainer's. The first weights are tried twice, with a trial between them in which all weights are
scaled, or all adapters replaced: a reload may leave a part of them behind, and a training step changes them too little
to see that. All completions carry the label that the weights were given. If the server was restarted, or if another run
uses it, they carry another one. Then they are thrown away, the server gets the weights again, and the same completions
are asked for again.

Every process of a run calls this engine. The first one talks to the server, and passes the answers on to the others.
"""

import fcntl
import math
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import IO, Any

import jax
import numpy as np
from jax.sharding import NamedSharding
from jaxtyping import Array, Float

from grpo_jax.config import ConfigError, SamplingConfig, VllmConfig
from grpo_jax.policy import Policy, has_adapters
from grpo_jax.policy.huggingface import ConfigFile, save_adapters, save_checkpoint
from grpo_jax.processes import by_first, fetch, put
from grpo_jax.randomness import TextStream, spread_seed
from grpo_jax.sampling.engine import Capabilities, EngineError, FinishedGroups, SamplingRequest
from grpo_jax.sampling.vllm_client import Answer, VllmClient
from grpo_jax.sharding import batch_shards
from grpo_jax.types import Params, PromptBatch, Rollouts, StopReason

ATTEMPTS = 3  # to give the server some weights, and to sample from them
CANARY_PROMPTS = 4
CANARY_TOKENS = 32  # of each
SCALE = 1.1  # of all weights in the trial
NAME = "grpo_jax_"  # how the names of this engine's directories and adapters begin


class VllmEngine:
    """Samples with a vLLM server. It makes no request before it gets weights."""

    def __init__(
        self,
        settings: VllmConfig,
        *,
        policy: Policy,
        config_file: ConfigFile,
        stop_tokens: Sequence[int],
        max_new_tokens: int,
        score: Callable[..., Float[Array, "M G C"]],
        batch: NamedSharding,
    ):
        """Make an engine without weights.

        Args:
          settings: where the server is, and how to talk to it.
          policy: of the weights; if it has adapters, the weights may be those of its `base`, too.
          config_file: config.json of the policy, and of the server's model.
          stop_tokens: each of these tokens ends a completion.
          max_new_tokens: the maximum length of a completion, C.
          score: (weights, prompt_tokens, prompt_lengths, completion_tokens, temperature=) -> log-probabilities by the
            trainer's program, with and without adapters; see `Policy.completion_logprobs`.
          batch: where prompts lie.
        """
        self._settings, self._policy, self._config_file = settings, policy, config_file
        self._stop_tokens, self._room = stop_tokens, max_new_tokens
        self._score, self._batch = score, batch
        self._folder = Path(settings.weights).expanduser().resolve()
        self._lock: IO[bytes] | None = None
        self._session = ""  # distinguishes this engine's labels and directories from all others
        self._given = 0  # how often the server got weights
        self._label = ""
        self._directory: Path | None = None
        self._adapters = ""  # the name under which the server has the adapters; "" if it gets whole weights
        self._weights: Params | None = None
        self._version = 0
        self._proved = False  # whether the canary has shown that the server samples from these weights
        self._tried = False  # whether the trial has shown that the server reads all weights
        self._asking = ExitStack()  # gives up what is left of the request that is under way
        self.capabilities = Capabilities(
            counter_exact=False,
            coupled_noise=False,
            exact_logprobs=False,
            vocab_size=policy.vocab_size,
            concurrent=True,
        )

    def load(self, weights: Params, version: int) -> None:
        """Write the weights, and let the server read them.

        Raises:
          ConfigError: if they cannot be written.
          EngineError: if the server cannot read them.
        """
        if not self._session:
            self._session = by_first(self._begin, EngineError)
        self._weights, self._version = weights, version
        self._adapters = f"{NAME}{self._session}" if has_adapters(weights) else ""
        earlier, self._directory = self._directory, self._write(weights)
        self._give()
        _remove(earlier)

    def unload(self) -> None:
        """Release the weights on this side. The server keeps its own."""
        self._weights = None

    def sample(self, prompts: PromptBatch, request: SamplingRequest) -> Iterator[FinishedGroups]:
        """Ask for all completions at once, and return the groups of each batch, in order.

        A batch is yielded only if all of its completions come from the weights. If the server had others, this batch
        and all that follow are sampled again.

        Raises:
          EngineError: if the server does not answer, or its log-probabilities are not the trainer's.
        """
        if self._weights is None:
            raise RuntimeError("the engine has no weights: load some before sampling")
        number = len(prompts.ids)
        batches = np.split(np.arange(number), range(request.prompts_per_batch, number, request.prompts_per_batch))
        self._prove(prompts, request)
        return self._finished(prompts, request, batches, self._ask_for(prompts, request, batches))

    def _finished(
        self,
        prompts: PromptBatch,
        request: SamplingRequest,
        batches: Sequence[np.ndarray],
        asked: Sequence[Sequence[Future[Answer]]],
    ) -> Iterator[FinishedGroups]:
        """Yield each batch once all of its completions come from the weights; ask again for those that do not."""
        done = 0
        for attempt in range(ATTEMPTS):
            if attempt:
                self._give()
                self._prove(prompts, request)
                asked = self._ask_for(prompts, request, batches[done:])
            try:
                for rows, futures in zip(batches[done:], asked, strict=True):
                    answers = by_first(partial(self._answered, futures), EngineError)
                    if answers is None:
                        break
                    yield FinishedGroups(
                        rows.tolist(), self._rollouts(prompts, rows, answers, self._room), self._version
                    )
                    done += 1
            finally:
                self._asking.close()
            if done == len(batches):
                return
        raise EngineError(
            f"the vLLM server at {self._settings.address}: lost its weights {ATTEMPTS} times while it was sampling; "
            "see whether it is restarted, or used by another run, and run the same command again."
        )

    def close(self) -> None:
        """Give up all requests, release the weights, and remove their directory."""
        self._asking.close()
        self.unload()
        _remove(self._directory)
        if self._lock:
            self._lock.close()
        self._session, self._directory, self._lock = "", None, None

    def _begin(self) -> str:
        """Take the folder of the weights, remove what a killed run has left there, and return a new session."""
        field = f"rollout.engine.weights={self._settings.weights!r}"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._lock = open(self._folder / "lock", "wb")  # noqa: SIM115 - open until the engine is closed
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self.close()
            raise ConfigError(f"{field}: another run uses it; name another directory, and another server.") from error
        except OSError as error:
            raise ConfigError(f"{field}: cannot be written to ({error.strerror}); name another directory.") from error
        for left in [*self._folder.glob(f"{NAME}*"), *self._folder.glob(f".{NAME}*")]:
            shutil.rmtree(left, ignore_errors=True)
        return secrets.token_hex(4)

    def _write(self, weights: Params) -> Path:
        """Write weights, or their adapters if they have any, to a new directory, and return it."""
        directory = self._folder / f"{NAME}{self._session}_{self._given:06d}"
        dtype = self._policy.model.compute_dtype
        if has_adapters(weights):
            save_adapters(directory, self._policy, weights, self._config_file, dtype)
        else:
            save_checkpoint(directory, self._policy.base, weights, self._config_file.values, dtype)
        return directory

    def _give(self) -> None:
        """Let the server read the weights in the directory.

        Raises:
          EngineError: if it cannot.
        """
        assert self._directory is not None
        self._proved, client = False, VllmClient(self._settings)
        for _ in range(ATTEMPTS):
            self._label = f"{self._session}.{self._given}"
            self._given += 1
            if by_first(partial(client.take_weights, self._directory, self._label, self._adapters), EngineError):
                return
        raise EngineError(
            f"the vLLM server at {self._settings.address}: was restarted {ATTEMPTS} times while it read the weights, "
            "or is used by another run; see its log, and run the same command again."
        )

    def _prove(self, prompts: PromptBatch, request: SamplingRequest) -> None:
        """Raise EngineError if the server does not sample from the weights. Then nothing may be sampled."""
        if self._proved:
            return
        self._check(prompts, request, "it has other weights, or computes in another way: start it as")
        if not self._tried:
            self._try(prompts, request)
            self._check(prompts, request, "it does not read weights again that it had before: see")
        self._proved = self._tried = True

    def _try(self, prompts: PromptBatch, request: SamplingRequest) -> None:
        """Let the server read other weights, and then its own again. Raise EngineError if it does not follow."""
        weights, directory = self._weights, self._directory
        assert weights is not None
        with jax.transfer_guard("allow"):
            if has_adapters(weights):
                self._weights, tried = self._policy.with_other_adapters(weights, SCALE - 1), "it got other adapters"
            else:
                self._weights = jax.tree.map(lambda leaf: (leaf * SCALE).astype(leaf.dtype), weights)
                tried = f"all weights were scaled by {SCALE}"
            self._directory = self._write(self._weights)
        try:
            self._give()
            self._check(prompts, request, f"it did not follow when {tried}: see")
        finally:
            _remove(self._directory)
            self._weights, self._directory = weights, directory
        self._give()

    def _check(self, prompts: PromptBatch, request: SamplingRequest, otherwise: str) -> None:
        """Raise EngineError if the server's log-probabilities are not the trainer's, with a clause that says why."""
        for attempt in range(ATTEMPTS):
            if attempt:
                self._give()
            difference = self._canary(prompts, request)
            if difference <= self._settings.tolerance:  # not if it is NaN
                return
        raise EngineError(
            f"the vLLM server at {self._settings.address}: its log-probabilities differ from the trainer's by "
            f"{difference:.2g} in the mean, more than rollout.engine.tolerance={self._settings.tolerance:g}; "
            f"{otherwise} docs/engines.md."
        )

    def _canary(self, prompts: PromptBatch, request: SamplingRequest) -> float:
        """Return the mean |difference| between the server's and the trainer's log-probabilities of some completions.

        It is infinite if they come from other weights.
        """
        temperature, room = request.sampling.temperature or 1.0, min(self._room, CANARY_TOKENS)
        few = np.arange(min(len(prompts.ids), CANARY_PROMPTS))

        def ask() -> list[Answer] | None:
            client = VllmClient(self._settings)
            sampling = SamplingConfig(temperature=temperature)
            answers = [self._ask(client, prompts, row, 0, request, sampling, room) for row in few.tolist()]
            return answers if self._labelled(answers) else None

        answers = by_first(ask, EngineError)
        if answers is None:
            return math.inf
        rollouts = self._rollouts(prompts, few, answers, room)
        shards = batch_shards(self._batch.mesh)
        rows = np.resize(few, -(-CANARY_PROMPTS // shards) * shards)  # every shard gets equally many
        rollouts = jax.tree.map(lambda array: array[rows], rollouts)
        read = put((rollouts.prompt_tokens, rollouts.prompt_lengths, rollouts.completion_tokens), self._batch)
        scored = fetch(self._score(self._weights, *read, temperature=temperature))
        counted = np.arange(room) < rollouts.completion_lengths[..., None]
        return float(np.abs(scored - rollouts.logprobs)[counted].mean())

    def _ask_for(
        self, prompts: PromptBatch, request: SamplingRequest, batches: Sequence[np.ndarray]
    ) -> Sequence[Sequence[Future[Answer]]]:
        """Ask for all completions of some batches, until `_asking` is closed. Only the first process asks."""
        if jax.process_index():
            return [()] * len(batches)
        client = VllmClient(self._settings)
        pool = ThreadPoolExecutor(self._settings.requests, "vllm")
        self._asking.callback(pool.shutdown)  # last: the stack unwinds
        self._asking.callback(client.close)
        self._asking.callback(pool.shutdown, wait=False, cancel_futures=True)
        how = request, request.sampling, self._room
        return [
            [
                pool.submit(self._ask, client, prompts, row, sample, *how)
                for row in rows.tolist()
                for sample in range(request.group_size)
            ]
            for rows in batches
        ]

    def _ask(
        self,
        client: VllmClient,
        prompts: PromptBatch,
        row: int,
        sample: int,
        request: SamplingRequest,
        sampling: SamplingConfig,
        room: int,
    ) -> Answer:
        """Return a completion from the server. Its seed is made of the same numbers as a completion's key."""
        counter = request.counter
        numbers = (int(number) for number in (counter.seed, counter.stream, counter.step, prompts.ids[row]))
        return client.generate(
            prompts.tokens[row, : prompts.lengths[row]].tolist(),
            seed=spread_seed(TextStream.SERVED, *numbers, sample),
            sampling=sampling,
            room=room,
            stop_tokens=self._stop_tokens,
            adapters=self._adapters,
        )

    def _answered(self, futures: Sequence[Future[Answer]]) -> list[Answer] | None:
        """Wait for completions, and return them; None if not all come from the weights."""
        answers = [future.result() for future in futures]
        return answers if self._labelled(answers) else None

    def _labelled(self, answers: Sequence[Answer]) -> bool:
        return all(answer.label == self._label for answer in answers)

    def _rollouts(
        self, prompts: PromptBatch, rows: np.ndarray, answers: Sequence[Sequence[Any]], room: int
    ) -> Rollouts:
        """Return the groups of some prompts.

        Args:
          answers: the fields of an `Answer` for each completion, prompt by prompt.
          room: C.
        """
        shape = len(rows), len(answers) // len(rows)
        tokens = np.full((*shape, room), self._stop_tokens[0], np.int32)
        logprobs, lengths = np.zeros((*shape, room), np.float32), np.zeros(shape, np.int32)
        reasons = np.full(shape, StopReason.LENGTH, np.int32)
        for index, (ids, of_ids, stopped, _) in zip(np.ndindex(shape), answers, strict=True):
            tokens[index][: len(ids)], logprobs[index][: len(ids)] = ids, of_ids
            lengths[index], reasons[index] = len(ids), StopReason.STOP if stopped else StopReason.LENGTH
        return Rollouts(
            prompt_tokens=prompts.tokens[rows],
            prompt_lengths=prompts.lengths[rows],
            completion_tokens=tokens,
            completion_lengths=lengths,
            logprobs=logprobs,
            stop_reasons=reasons,
        )


def _remove(directory: Path | None) -> None:
    if directory and jax.process_index() == 0:
        shutil.rmtree(directory, ignore_errors=True)
