"""Let a task's reward judge groups of completions."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from grpo_jax.data import Problem, Task, decode
from grpo_jax.processes import by_first
from grpo_jax.rewards import Attempt, Reward, Verdict, WorkerError
from grpo_jax.runs.groups import Completion, JudgedGroup
from grpo_jax.types import Rollouts, StopReason

NO_VERDICTS = WorkerError("the first host judges for all hosts, and cannot; see its message.")


def judge_rollouts(task: Task, problems: Sequence[Problem], rollouts: Rollouts) -> list[JudgedGroup]:
    """Decode the completions of these problems (host arrays), and let the task's reward judge them all at once."""
    n, g, c = rollouts.completion_tokens.shape
    stopped = rollouts.stop_reasons.ravel() == StopReason.STOP
    # The stop token is not part of the text, even if the tokenizer does not treat it as special and would write it.
    written = rollouts.completion_lengths.ravel() - stopped
    texts = decode(task.tokenizer, rollouts.completion_tokens.reshape(n * g, c), written)
    lengths = rollouts.completion_lengths.ravel().tolist()
    problem_of_each = [problem for problem in problems for _ in range(g)]
    verdicts = _verdicts(
        task.reward,
        [
            Attempt(problem.prompt, problem.answer, text, ended, length)
            for problem, text, ended, length in zip(problem_of_each, texts, stopped.tolist(), lengths, strict=True)
        ],
    )
    completions = [Completion(*one) for one in zip(texts, lengths, stopped.tolist(), verdicts, strict=True)]
    return [
        JudgedGroup(problem.id, problem.prompt, problem.answer, completions[place * g : (place + 1) * g])
        for place, problem in enumerate(problems)
    ]


def warm(reward: Reward) -> None:
    """Start the reward's processes on the host that judges, because they take long to start."""
    by_first(reward.warm, NO_VERDICTS)


def _verdicts(reward: Reward, attempts: Sequence[Attempt]) -> list[Verdict]:
    """Return the first host's verdicts on every host.

    If each host judged, a worker that was killed or reached a limit on one of them would make their updates differ.
    """

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


def rewards_of(groups: Sequence[JudgedGroup]) -> tuple[Float[np.ndarray, "N G"], Bool[np.ndarray, "N G"]]:
    """Return the rewards of groups of one size, and which are scored. A reward that is not finite is not scored."""
    rewards = np.array([[one.verdict.reward for one in group.completions] for group in groups], np.float32)
    scored = np.array([[one.verdict.scored for one in group.completions] for group in groups])
    return rewards, scored & np.isfinite(rewards)


def right_of(groups: Sequence[JudgedGroup]) -> Bool[np.ndarray, "N G"]:
    """Return which completions are right; False if the reward does not say."""
    return np.array([[one.verdict.right is True for one in group.completions] for group in groups])
