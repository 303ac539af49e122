"""Let a task's reward judge groups of completions.

Every process judges a share of the groups, and all get the verdicts of all. So each verdict is made once, and all
processes learn from the same ones, even where a reward is random or a worker was killed.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any, cast

import jax
import numpy as np
from jaxtyping import Bool, Float

from grpo_jax.config import ConfigError, blaming, counted
from grpo_jax.data import Problem, Task, decode
from grpo_jax.processes import by_all
from grpo_jax.rewards import Attempt, Reward, Verdict, WorkerError, finite_or_unscored
from grpo_jax.runs.groups import Completion, JudgedGroup
from grpo_jax.types import Rollouts, StopReason


def judge_rollouts(task: Task, problems: Sequence[Problem], rollouts: Rollouts) -> list[JudgedGroup]:
    """Decode the completions of these problems (host arrays), and let the task's reward judge them all at once."""
    n, g, c = rollouts.completion_tokens.shape
    stopped = rollouts.stop_reasons.ravel() == StopReason.STOP
    # The stop token is not part of the text, even if the tokenizer does not treat it as special and would write it.
    written = rollouts.completion_lengths.ravel() - stopped
    texts = decode(task.tokenizer, rollouts.completion_tokens.reshape(n * g, c), written)
    lengths = rollouts.completion_lengths.ravel().tolist()
    problem_of_each = [problem for problem in problems for _ in range(g)]
    attempts = [
        Attempt(problem.prompt, problem.answer, text, ended, length)
        for problem, text, ended, length in zip(problem_of_each, texts, stopped.tolist(), lengths, strict=True)
    ]
    first, end = share_of(n, jax.process_index(), jax.process_count())
    verdicts = _verdicts(task.reward, attempts[first * g : end * g])
    completions = [Completion(*one) for one in zip(texts, lengths, stopped.tolist(), verdicts, strict=True)]
    return [
        JudgedGroup(problem.id, problem.prompt, problem.answer, completions[index * g : (index + 1) * g])
        for index, problem in enumerate(problems)
    ]


def share_of(groups: int, process: int, processes: int) -> tuple[int, int]:
    """Return the first group that a process judges, and the one after its last.

    Shares are as equal as they can be and follow each other. Groups stay whole, because a reward may compare the
    completions of a group.
    """
    return groups * process // processes, groups * (process + 1) // processes


def judged_by(reward: Reward, attempts: Sequence[Attempt]) -> list[Verdict]:
    """Return a reward's verdicts of some attempts, with those whose rewards are not finite marked as unscored.

    Their values are Python's own, and not NumPy's or JAX's.

    Raises:
      ConfigError: if the reward returns anything but one `Verdict` for each attempt.
    """
    if not attempts:
        return []
    verdicts = list(reward.judge(attempts))
    if len(verdicts) != len(attempts):
        raise ConfigError(
            f"the reward of the task: returns {counted(len(verdicts), 'verdict')} for "
            f"{counted(len(attempts), 'completion')}; return one for each, in their order."
        )
    for verdict in verdicts:
        if not isinstance(verdict, Verdict):
            raise ConfigError(
                f"the reward of the task: returns {verdict!r}, of the type {type(verdict).__name__}; return a "
                "grpo_jax.rewards.Verdict for each completion."
            )
        reward_given, answer_given = cast(Any, verdict.reward), cast(Any, verdict.answer)  # of a user's code
        if (
            isinstance(reward_given, str | complex | None)
            or not isinstance(answer_given, str | None)
            or verdict.right not in (True, False, None)
        ):
            raise ConfigError(
                f"the reward of the task: returns {verdict}; make its reward a number, its answer a text or None, and "
                "right True, False or None."
            )
    return [_of_python(finite_or_unscored(verdict)) for verdict in verdicts]


def _of_python(verdict: Verdict) -> Verdict:
    right = None if verdict.right is None else bool(verdict.right)
    terms = {name: float(value) for name, value in verdict.terms.items()}
    return Verdict(float(verdict.reward), verdict.answer, bool(verdict.scored), right, terms)


def try_reward(task: Task, problem: Problem, group_size: int) -> None:
    """Let the reward of a user's own task judge the gold answer of a problem, to see whether it can judge at all.

    Raises:
      ConfigError: if it raises anything, or returns anything but verdicts.
    """
    attempt = Attempt(problem.prompt, problem.answer, problem.answer, True, 1)
    gold = f"the gold answer {problem.answer[:80]!r} of {problem.prompt[:80]!r}"
    with blaming(f"the reward of the task: cannot judge {gold}"):
        judged_by(task.reward, [attempt] * group_size)


def warm(reward: Reward) -> None:
    """Start the reward's processes, because they take long to start."""
    by_all(reward.warm, WorkerError)


def unscored_of(reward: Reward) -> Counter[str]:
    """Return how many completions had no verdict so far, by reason, counted over all processes."""
    counts: Counter[str] = Counter()
    for theirs in by_all(lambda: dict(reward.unscored), WorkerError):
        counts.update(theirs)
    return counts


def _verdicts(reward: Reward, share: Sequence[Attempt]) -> list[Verdict]:
    """Return the verdicts of all processes, each of which judges its share."""

    def plain() -> list[list[Any]]:
        return [
            [verdict.reward, verdict.answer, verdict.scored, verdict.right, verdict.terms]
            for verdict in judged_by(reward, share)
        ]

    return [Verdict(*one) for theirs in by_all(plain, WorkerError) for one in theirs]


def rewards_of(groups: Sequence[JudgedGroup]) -> tuple[Float[np.ndarray, "N G"], Bool[np.ndarray, "N G"]]:
    """Return the rewards of groups of one size, and which are scored."""
    rewards = np.array([[one.verdict.reward for one in group.completions] for group in groups], np.float32)
    scored = np.array([[one.verdict.scored for one in group.completions] for group in groups])
    return rewards, scored


def successes_of(groups: Sequence[JudgedGroup]) -> Float[np.ndarray, "N G"]:
    """Return 1 for right completions and 0 for wrong ones; if the reward does not say, the reward, cut to [0, 1]."""
    rewards, _ = rewards_of(groups)
    return np.where(says_whether_right(groups), right_of(groups), np.clip(rewards, 0, 1)).astype(np.float32)


def says_whether_right(groups: Sequence[JudgedGroup]) -> Bool[np.ndarray, "N G"]:
    """Return a mask of the completions whose verdict says whether they are right."""
    return np.array([[one.verdict.right is not None for one in group.completions] for group in groups])


def right_of(groups: Sequence[JudgedGroup]) -> Bool[np.ndarray, "N G"]:
    """Return a mask of the right completions; False if the reward does not say."""
    return np.array([[one.verdict.right is True for one in group.completions] for group in groups])
