"""Evaluation: samples of held-out problems, judged, and summed up with intervals."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from grpo_jax.data import Problem, Task, decode
from grpo_jax.evaluation.estimators import Same, bootstrap_interval, majority_correct, pass_at_k
from grpo_jax.processes import by_first
from grpo_jax.rewards import Attempt, Equating, Reward, Verdict, WorkerError, same_text
from grpo_jax.sampling import one_ahead
from grpo_jax.types import Rollouts, StopReason

NO_VERDICTS = WorkerError("the first host, which judges for all, cannot; see its message.")


class Evaluation(NamedTuple):
    """The numbers, and what they were made from."""

    summary: dict[str, Any]  # see `summarize`
    records: list[dict[str, Any]]  # one a problem


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


def full_batches(problems: Sequence[Problem], size: int) -> Iterator[list[Problem]]:
    """All of one size, the last filled up with repetitions, which are to be thrown away."""
    for start in range(0, len(problems), size):
        batch = list(problems[start : start + size])
        yield batch + [batch[-1]] * (size - len(batch))


def evaluate(
    sample: Callable[[Sequence[Problem]], Any],
    task: Task,
    problems: Sequence[Problem],
    *,
    prompts_per_batch: int,
    bootstrap: int,
    stop: Callable[[], bool] = lambda: False,
) -> Evaluation | None:
    """Samples every problem's completions and judges them; None if it was stopped on the way.

    Args:
      sample: problems -> rollouts, which may still be being computed; called with `full_batches` of them.
      bootstrap: resamples for the intervals.
      stop: asked before each batch.
    """
    batches = takewhile(lambda _: not stop(), full_batches(problems, prompts_per_batch))
    judged: list[Judged] = []
    for batch, rollouts in one_ahead(sample, batches):
        judged += judge(task, batch, rollouts)
    if len(judged) < len(problems):
        return None
    judged = judged[: len(problems)]
    summary = by_first(lambda: summarize(judged, bootstrap, task.reward), NO_VERDICTS)  # a majority vote compares, too
    return Evaluation(summary, [_record(one) for one in judged])


def summarize(judged: Sequence[Judged], bootstrap: int, reward: Reward) -> dict[str, Any]:
    """mean@n, the unbiased pass@k for every k up to n, maj@n, and lengths; 95 % intervals over problems beside them.

    A completion that could not be scored counts as wrong here, and is counted in "unscored". Which answers are one in a
    majority vote is the reward's to say.
    """
    n = len(judged[0].verdicts)
    right = right_of(judged)
    correct = right.sum(axis=1)
    curves = {f"pass@{k}": pass_at_k(correct, n, k) for k in range(1, n + 1)}
    curves[f"mean@{n}"] = correct / n
    curves[f"maj@{n}"] = np.array(
        [
            majority_correct(
                [v.answer for v in one.verdicts], row.tolist(), one.problem.answer, _same(reward, one.problem)
            )
            for one, row in zip(judged, right, strict=True)
        ]
    )
    lengths = np.array([one.lengths for one in judged])
    truncated = np.array([[reason is StopReason.LENGTH for reason in one.stop_reasons] for one in judged])
    return {
        **{name: float(values.mean()) for name, values in curves.items()},
        "interval": {name: bootstrap_interval(values, bootstrap, seed=0) for name, values in curves.items()},
        "mean_reward": float(np.mean([[verdict.reward for verdict in one.verdicts] for one in judged])),
        "mean_length": float(lengths.mean()),
        "truncated_share": float(truncated.mean()),
        "unscored": sum(not verdict.scored for one in judged for verdict in one.verdicts),
        "problems": len(judged),
        "samples": n,
    }


def _same(reward: Reward, problem: Problem) -> Same:
    if isinstance(reward, Equating):
        return partial(reward.same, problem.prompt)
    return lambda answer, others: [same_text(answer, other) for other in others]


def _record(one: Judged) -> dict[str, Any]:
    return {
        "id": one.problem.id,
        "prompt": one.problem.prompt,
        "gold": one.problem.answer,
        "completions": list(one.completions),
        "rewards": [verdict.reward for verdict in one.verdicts],
        "answers": [verdict.answer for verdict in one.verdicts],
        "right": [verdict.right for verdict in one.verdicts],
        "scored": [verdict.scored for verdict in one.verdicts],
        "lengths": list(one.lengths),
        "stop_reasons": [reason.name.lower() for reason in one.stop_reasons],
    }
