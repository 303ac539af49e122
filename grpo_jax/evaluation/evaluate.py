"""Evaluation: sample held-out problems, judge the completions, and summarize them with intervals."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from grpo_jax.data import Problem, Task
from grpo_jax.evaluation.estimators import Same, bootstrap_interval, majority_correct, pass_at_k
from grpo_jax.evaluation.judging import right_of, says_whether_right
from grpo_jax.evaluation.sampled import in_order, judge_as_sampled
from grpo_jax.processes import by_first
from grpo_jax.rewards import Equating, Reward, WorkerError, same_text
from grpo_jax.runs.groups import JudgedGroup
from grpo_jax.runs.lines import UNKNOWN, Scores, Share
from grpo_jax.sampling import RolloutEngine, SamplingRequest


class Evaluation(NamedTuple):
    """The scores, and the groups from which they were computed."""

    scores: Scores
    groups: Sequence[JudgedGroup]  # one per problem


def evaluate(
    engine: RolloutEngine,
    task: Task,
    problems: Sequence[Problem],
    request: SamplingRequest,
    *,
    bootstrap: int,
    stop: Callable[[], bool] = lambda: False,
    progress: Callable[[int], None] = lambda _: None,
) -> Evaluation | None:
    """Return the scores of completions of all problems; None if the evaluation was stopped.

    Args:
      engine: holds the weights to evaluate.
      bootstrap: the number of resamples for the intervals.
      stop: called at the beginning and after each part that the engine finishes; true stops the evaluation.
      progress: called with the number of finished problems.
    """
    progress(0)
    if stop():
        return None
    done, parts = 0, []
    for part in judge_as_sampled(engine, task, problems, request):
        parts.append(part)
        done += len(part.indices)
        progress(done)
        if done < len(problems) and stop():
            return None
    groups = in_order(parts, len(problems)).groups
    # The first process decides for all, because a majority vote compares answers, too.
    scores = by_first(lambda: summarize(groups, bootstrap, task.reward).to_json(), WorkerError)
    return Evaluation(Scores.from_json(scores), groups)


def summarize(judged: Sequence[JudgedGroup], bootstrap: int, reward: Reward) -> Scores:
    """Return the scores of these groups, with 95 % intervals over problems.

    A completion without a verdict counts as wrong. If none has one, the shares are not known. Unscored completions do
    not count in the mean reward. The reward decides which answers are equivalent in a majority vote. If it finds a
    completion right without finding its answer, the votes are not known.
    """
    n = len(judged[0].completions)
    right, has_verdict = right_of(judged), says_whether_right(judged)
    known = bool(has_verdict.any())
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
    voted = all(one.verdict.answer is not None for one in every if one.verdict.right)
    rewards = [one.reward for one in every if one.reward is not None]

    def share(values: Float[np.ndarray, " N"]) -> Share:
        if not known:
            return UNKNOWN
        return Share(float(values.mean()), *bootstrap_interval(values, bootstrap, seed=0))

    return Scores(
        pass_at=[share(pass_at_k(correct, n, k)) for k in range(1, n + 1)],
        mean=share(correct / n),
        majority=share(majority) if voted else UNKNOWN,
        mean_reward=float(np.mean(rewards)) if rewards else float("nan"),
        mean_length=float(np.mean([one.length for one in every])),
        truncated_share=float(np.mean([not one.stopped for one in every])),
        unscored=int((~has_verdict).sum()) if known else sum(not one.verdict.scored for one in every),
        problems=len(judged),
    )


def _same(reward: Reward, prompt: str) -> Same:
    if isinstance(reward, Equating):
        return partial(reward.same, prompt)
    return lambda answer, others: [same_text(answer, other) for other in others]
