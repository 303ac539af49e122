"""Evaluation: samples of held-out problems, judged, and summed up with intervals."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import takewhile
from typing import Any, NamedTuple

import numpy as np

from grpo_jax.data import Problem, Task
from grpo_jax.evaluation.estimators import Same, bootstrap_interval, majority_correct, pass_at_k
from grpo_jax.evaluation.judging import NO_VERDICTS, Judged, judge, right_of
from grpo_jax.processes import by_first
from grpo_jax.rewards import Equating, Reward, same_text
from grpo_jax.sampling import one_ahead
from grpo_jax.types import StopReason


class Evaluation(NamedTuple):
    """The numbers, and what they were made from."""

    summary: dict[str, Any]  # see `summarize`
    records: list[dict[str, Any]]  # one a problem


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
