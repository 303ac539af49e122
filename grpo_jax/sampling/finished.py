"""Check what an engine returns. A wrong answer would train the policy without a word."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from grpo_jax.sampling.engine import EngineError, FinishedGroups, SamplingRequest
from grpo_jax.types import PromptBatch, StopReason

ROUNDING = 0.01  # by which a log-probability may be above 0


def check_finished(
    finished: FinishedGroups,
    prompts: PromptBatch,
    request: SamplingRequest,
    vocab_size: int,
    stop_tokens: Sequence[int],
) -> None:
    """Raise EngineError if finished groups cannot be those that the engine was asked for.

    Log-probabilities that are not finite are left to the caller: the policy may have diverged.

    Args:
      prompts: of the whole request.
      vocab_size: the number of the policy's token ids.
      stop_tokens: the ids that end a completion.
    """
    if fault := next(_faults(finished, prompts, request, vocab_size, stop_tokens), None):
        raise EngineError(f"the rollout engine returned groups that cannot be used: {fault}; correct its `sample`.")


def _faults(
    finished: FinishedGroups,
    prompts: PromptBatch,
    request: SamplingRequest,
    vocab_size: int,
    stop_tokens: Sequence[int],
) -> Iterator[str]:
    """Yield what is wrong. The later checks rely on the earlier ones."""
    if request.version not in (None, finished.version):
        yield f"they are of the weights after step {finished.version}, not of those after step {request.version}"
    indices, found = np.asarray(finished.indices), finished.rollouts
    number = len(prompts.ids)
    if not (np.issubdtype(indices.dtype, np.integer) and ((indices >= 0) & (indices < number)).all()):
        yield f"indices={indices.tolist()} must be integers from 0 to {number - 1}, the prompts of the request"
    n, g, c = len(indices), request.group_size, max(np.shape(found.completion_tokens)[-1:], default=0)
    shapes = {
        "prompt_tokens": (n, prompts.tokens.shape[1]),
        "prompt_lengths": (n,),
        "completion_tokens": (n, g, c),
        "completion_lengths": (n, g),
        "logprobs": (n, g, c),
        "stop_reasons": (n, g),
    }
    for name, shape in shapes.items():
        if np.shape(getattr(found, name)) != shape:
            yield f"{name} must have the shape {shape}, and has {np.shape(getattr(found, name))}"
    given = prompts.lengths[indices]
    differs = (found.prompt_tokens != prompts.tokens[indices]) & _until(given, prompts.tokens.shape[1])
    if not np.array_equal(found.prompt_lengths, given) or differs.any():
        yield f"prompt_tokens are not those of the prompts {indices.tolist()} of the request"
    lengths, tokens, stopped = found.completion_lengths, found.completion_tokens, found.stop_reasons == StopReason.STOP
    if outside := _first(lengths, (lengths < 1) | (lengths > c)):
        yield f"completion_lengths must be from 1 to {c}, with the stop token counted, and one is {outside[0]}"
    if outside := _first(tokens, (tokens < 0) | (tokens >= vocab_size)):
        yield f"completion_tokens must be from 0 to {vocab_size - 1}, and one is {outside[0]}"
    within = _until(lengths, c)
    if outside := _first(found.logprobs, found.logprobs > ROUNDING):
        yield f"logprobs must be logarithms, which are at most 0, and one is {outside[0]:g}"
    if outside := _first(found.logprobs, ~within & (found.logprobs != 0)):
        yield f"logprobs must be 0 after the end of a completion, and one is {outside[0]:g}"
    if outside := _first(found.stop_reasons, ~np.isin(found.stop_reasons, list(StopReason))):
        yield f"stop_reasons must be values of StopReason, and one is {outside[0]}"
    last = np.arange(c) == lengths[..., None] - 1
    if outside := _first(tokens, within & (np.isin(tokens, stop_tokens) != (last & stopped[..., None]))):
        yield (
            f"a completion must end with one of the stop tokens {list(stop_tokens)} if its reason is STOP, and have "
            f"none elsewhere, but one has the token {outside[0]}"
        )


def _until(lengths: np.ndarray, width: int) -> np.ndarray:
    """Return a mask of the first places, as many as the lengths say."""
    mask: np.ndarray = np.arange(width) < lengths[..., None]
    return mask


def _first(values: np.ndarray, where: np.ndarray) -> list[Any]:
    """Return a list of the first value at these places, or of none."""
    return list(values[where][:1])
