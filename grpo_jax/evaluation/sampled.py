"""Sample and judge groups. Training, evaluations, replays and analyses get their completions from here."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial

import jax
import numpy as np

from grpo_jax.data import Problem, Task, encode_prompts
from grpo_jax.evaluation.judging import judge_rollouts
from grpo_jax.runs.groups import JudgedGroup
from grpo_jax.sampling import EngineError, FinishedGroups, RolloutEngine, SamplingRequest, check_finished
from grpo_jax.types import Rollouts


@dataclass(frozen=True)
class Samples:
    """Judged groups of completions of some problems."""

    indices: Sequence[int]  # of their problems in the request
    groups: Sequence[JudgedGroup]
    rollouts: Rollouts  # host arrays
    version: int  # of the weights that sampled them; the oldest of several


def judge_as_sampled(
    engine: RolloutEngine,
    task: Task,
    problems: Sequence[Problem],
    request: SamplingRequest,
    while_waiting: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> Iterator[Samples]:
    """Return judged groups as the engine finishes them. It samples the next ones while they are judged.

    A concurrent engine begins at the call, others when the first groups are asked for.

    Args:
      engine: holds the weights to sample from.
      while_waiting: returns a context that is entered while waiting for the engine.

    Raises:
      ConfigError: if the policy cannot read a prompt (`grpo_jax.data.check_rows`).
      EngineError: if the engine returns groups that cannot be used (`grpo_jax.sampling.check_finished`).
      ValueError: if there are no problems.
    """
    if not problems:
        raise ValueError("there are no problems to sample completions of; name at least one")
    vocab_size = engine.capabilities.vocab_size
    with while_waiting():
        prompts = encode_prompts(task, problems, vocab_size)
        parts = engine.sample(prompts, request)
    check = partial(
        check_finished, prompts=prompts, request=request, vocab_size=vocab_size, stop_tokens=task.stop_tokens
    )
    return _judged(task, problems, parts, check, while_waiting)


def _judged(
    task: Task,
    problems: Sequence[Problem],
    parts: Iterator[FinishedGroups],
    check: Callable[[FinishedGroups], None],
    while_waiting: Callable[[], AbstractContextManager[object]],
) -> Iterator[Samples]:
    while True:
        with while_waiting():
            part = next(parts, None)
        if part is None:
            return
        check(part)
        groups = judge_rollouts(task, [problems[index] for index in part.indices], part.rollouts)
        yield Samples(part.indices, groups, part.rollouts, part.version)


def begin_sampling(
    engine: RolloutEngine,
    task: Task,
    problems: Sequence[Problem],
    request: SamplingRequest,
    while_waiting: Callable[[], AbstractContextManager[object]] = nullcontext,
    after_part: Callable[[], None] = lambda: None,
) -> Callable[[], Samples]:
    """Hand a request to the engine, and return a function that waits for the judged groups of all problems, in order.

    A concurrent engine begins at the call, others when the function is called. For other arguments and errors see
    `judge_as_sampled`.

    Args:
      after_part: called after each part that the engine finishes. If it raises, the sampling ends.
    """
    parts = judge_as_sampled(engine, task, problems, request, while_waiting)

    def finish() -> Samples:
        finished = []
        for part in parts:
            finished.append(part)
            after_part()
        return in_order(finished, len(problems))

    return finish


def sample_and_judge(
    engine: RolloutEngine, task: Task, problems: Sequence[Problem], request: SamplingRequest
) -> Samples:
    """Return the judged groups of all problems, in their order. For errors see `judge_as_sampled`."""
    return begin_sampling(engine, task, problems, request)()


def in_order(parts: Sequence[Samples], number: int) -> Samples:
    """Return the parts of a request as one, in the order of its problems.

    Args:
      number: the number of problems in the request.

    Raises:
      EngineError: if the engine left out a group or returned one twice.
    """
    indices = [index for part in parts for index in part.indices]
    if sorted(indices) != list(range(number)):
        raise EngineError("the rollout engine did not return every prompt's group exactly once; correct its `sample`.")
    order = np.argsort(indices)
    groups = [group for part in parts for group in part.groups]
    rollouts = jax.tree.map(lambda *arrays: np.concatenate(arrays)[order], *(part.rollouts for part in parts))
    oldest = min(part.version for part in parts)
    return Samples(range(number), [groups[index] for index in order], rollouts, oldest)
