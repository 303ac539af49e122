"""The verdicts of a task's reward on groups of completions."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from grpo_jax.data import Problem, Task, decode
from grpo_jax.processes import by_first
from grpo_jax.rewards import Attempt, Reward, Verdict, WorkerError
from grpo_jax.types import Rollouts, StopReason

NO_VERDICTS = WorkerError("the first host, which judges for all, cannot; see its message.")


@dataclass(frozen=True)
class Judged:
    """The completions of one problem, with what the verifier says of them."""

    problem: Problem
    completions: Sequence[str]
    verdicts: Sequence[Verdict]
    lengths: Sequence[int]  # in tokens
    stop_reasons: Sequence[StopReason]


def judge(task: Task, problems: Sequence[Problem], rollouts: Rollouts) -> list[Judged]:
    """Reads the completions (host arrays) of these problems and asks the task's reward about all of them at once."""
    n, g, c = rollouts.completion_tokens.shape
    # The stop token is no part of the text, also where the tokenizer does not call it special and would write it out.
    written = rollouts.completion_lengths.ravel() - (rollouts.stop_reasons.ravel() == StopReason.STOP)
    texts = decode(task.tokenizer, rollouts.completion_tokens.reshape(n * g, c), written)
    reasons = [StopReason(reason) for reason in rollouts.stop_reasons.ravel().tolist()]
    lengths = rollouts.completion_lengths.ravel().tolist()
    of_each = [problem for problem in problems for _ in range(g)]
    verdicts = _verdicts(
        task.reward,
        [
            Attempt(problem.prompt, problem.answer, text, reason is StopReason.STOP, length)
            for problem, text, reason, length in zip(of_each, texts, reasons, lengths, strict=True)
        ],
    )
    groups = [slice(start, start + g) for start in range(0, n * g, g)]
    return [
        Judged(problem, texts[group], verdicts[group], lengths[group], reasons[group])
        for problem, group in zip(problems, groups, strict=True)
    ]


def warm(reward: Reward) -> None:
    """Starts what takes long to start, on the host that judges."""
    by_first(reward.warm, NO_VERDICTS)


def _verdicts(reward: Reward, attempts: Sequence[Attempt]) -> list[Verdict]:
    """The first host's, on all of them: a worker that was killed on one, or a limit, would part what they learn."""

    def plain() -> list[list[Any]]:
        return [
            [
                float(verdict.reward),
                verdict.answer,
                bool(verdict.scored),
                None if verdict.right is None else bool(verdict.right),
                {name: float(value) for name, value in verdict.terms.items()},
            ]
            for verdict in reward.judge(attempts)
        ]

    return [Verdict(*one) for one in by_first(plain, NO_VERDICTS)]


def rewards_of(judged: Sequence[Judged]) -> tuple[Float[np.ndarray, "N G"], Bool[np.ndarray, "N G"]]:
    """The rewards of groups of one size, and which of them are any: what is not a number is no reward."""
    rewards = np.array([[verdict.reward for verdict in one.verdicts] for one in judged], np.float32)
    scored = np.array([[verdict.scored for verdict in one.verdicts] for one in judged])
    return rewards, scored & np.isfinite(rewards)


def right_of(judged: Sequence[Judged]) -> Bool[np.ndarray, "N G"]:
    """Which completions are right; not those of which the reward does not say."""
    return np.array([[verdict.right is True for verdict in one.verdicts] for one in judged])
