"""A rollout engine that writes what a script says. The program uses it through the protocol alone."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from grpo_jax.data import Task, decode, encode, pad
from grpo_jax.sampling import Capabilities, FinishedGroups, SamplingRequest
from grpo_jax.types import Params, PromptBatch, Rollouts, StopReason


class ScriptedEngine:
    """Gives every prompt's group back by itself, the last one first."""

    def __init__(self, task: Task, max_new_tokens: int, script: Callable[[str, int], str]):
        """Make an engine of a script: (prompt's text, place in its group) -> completion's text."""
        self.task, self.max_new_tokens, self.script = task, max_new_tokens, script
        self.capabilities = Capabilities(
            counter_exact=True, coupled_noise=False, exact_logprobs=False, vocab_size=2**31 - 1
        )
        self.loaded: list[int] = []  # the versions of weights, in order
        self.requests: list[tuple[int, SamplingRequest]] = []  # prompts, and how they are to be sampled
        self.finished = 0  # groups
        self.closed = False

    def load(self, weights: Params, version: int) -> None:
        self.loaded.append(version)

    def unload(self) -> None:
        pass

    def sample(self, prompts: PromptBatch, request: SamplingRequest) -> Iterator[FinishedGroups]:
        self.requests.append((len(prompts.ids), request))
        texts = decode(self.task.tokenizer, prompts.tokens, prompts.lengths)
        for place in reversed(range(len(texts))):
            self.finished += 1
            completions = [self.script(texts[place], index) for index in range(request.group_size)]
            group = self._group(prompts.tokens[[place]], prompts.lengths[[place]], completions)
            yield FinishedGroups([place], group, self.loaded[-1] if self.loaded else 0)

    def close(self) -> None:
        self.closed = True

    def _group(self, prompt: np.ndarray, length: np.ndarray, completions: Sequence[str]) -> Rollouts:
        rows = [[*ids, self.task.stop_tokens[0]] for ids in encode(self.task.tokenizer, completions)]
        tokens, lengths = pad(rows, self.max_new_tokens)
        return Rollouts(
            prompt_tokens=prompt,
            prompt_lengths=length,
            completion_tokens=tokens[None],
            completion_lengths=lengths[None],
            logprobs=np.where(np.arange(self.max_new_tokens) < lengths[:, None], np.float32(-1), np.float32(0))[None],
            stop_reasons=np.full((1, len(rows)), StopReason.STOP),
        )
