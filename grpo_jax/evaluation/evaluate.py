"""Evaluation: samples of held-out problems, judged, and summed up with intervals."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import takewhile
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from grpo_jax.data import Problem, Task
from grpo_jax.evaluation.estimators import Same, bootstrap_interval, majority_correct, pass_at_k
from grpo_jax.evaluation.judging import NO_VERDICTS, judge, right_of
from grpo_jax.processes import by_first
from grpo_jax.rewards import Equating, Reward, same_text
from grpo_jax.runs.groups import JudgedGroup
from grpo_jax.runs.lines import Scores, Share
from grpo_jax.sampling import one_ahead


class Evaluation(NamedTuple):
    """The numbers, and what they were made from."""

    scores: Scores
    groups: Sequence[JudgedGroup]  # one a problem


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
    judged: list[JudgedGroup] = []
    for batch, rollouts in one_ahead(sample, batches):
        judged += judge(task, batch, rollouts)
    if len(judged) < len(problems):
        return None
    judged = judged[: len(problems)]
    # The first host's for all: a majority vote compares answers, too.
    scores = by_first(lambda: summarize(judged, bootstrap, task.reward).to_json(), NO_VERDICTS)
    return Evaluation(Scores.from_json(scores), judged)


def summarize(judged: Sequence[JudgedGroup], bootstrap: int, reward: Reward) -> Scores:
    """Return the scores of these groups, with 95 % intervals over problems.

    A completion that could not be scored counts as wrong. The reward decides which answers are one in a majority vote.
    """
    n = len(judged[0].completions)
    right = right_of(judged)
    correct = right.sum(axis=1)
    majority = np.array(
        [
            majority_correct(
                [one.verdict.answer for one in group.completions],
                row.tolist(),
                group.gold,
                _same(reward, group.prompt),
            )
            for group, row in zip(judged, right, strict=True)
        ]
    )
    every = [one for group in judged for one in group.completions]

    def share(of_problems: Float[np.ndarray, " N"]) -> Share:
        return Share(float(of_problems.mean()), *bootstrap_interval(of_problems, bootstrap, seed=0))

    return Scores(
        pass_at=[share(pass_at_k(correct, n, k)) for k in range(1, n + 1)],
        mean=share(correct / n),
        majority=share(majority),
        mean_reward=float(np.mean([one.verdict.reward for one in every])),
        mean_length=float(np.mean([one.length for one in every])),
        truncated_share=float(np.mean([not one.stopped for one in every])),
        unscored=sum(not one.verdict.scored for one in every),
        problems=len(judged),
    )


def _same(reward: Reward, prompt: str) -> Same:
    if isinstance(reward, Equating):
        return partial(reward.same, prompt)
    return lambda answer, others: [same_text(answer, other) for other in others]
