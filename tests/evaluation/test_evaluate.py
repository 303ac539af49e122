"""Judging completions and summing them up."""

import numpy as np
import pytest

from grpo_jax.config import ModularExpressionsConfig
from grpo_jax.data import Split, encode, pad
from grpo_jax.data.tasks import ModularExpressions
from grpo_jax.evaluation import evaluate, judge
from grpo_jax.types import Rollouts, StopReason

TASK = ModularExpressions(
    ModularExpressionsConfig("modular_expressions", 1, "+", 10, train_problems=10, right="answer", credit="exact")
)
PROBLEMS = TASK.problems(Split.TRAIN, 5)


def rollouts_of(texts, cut_off=()):
    """Host arrays as a sampler would return them; completions in `cut_off` lack their stop token."""
    flat = [text for group in texts for text in group]
    stopped = [text not in cut_off for text in flat]
    rows = [
        [*ids, *TASK.stop_tokens] if whole else ids
        for whole, ids in zip(stopped, encode(TASK.tokenizer, flat), strict=True)
    ]
    n, g = len(texts), len(texts[0])
    tokens, lengths = pad(rows, 6)
    reasons = np.where(stopped, StopReason.STOP, StopReason.LENGTH)
    return Rollouts(
        prompt_tokens=np.zeros((n, 4), np.int32),
        prompt_lengths=np.full(n, 4, np.int32),
        completion_tokens=tokens.reshape(n, g, 6),
        completion_lengths=lengths.reshape(n, g),
        logprobs=np.zeros((n, g, 6), np.float32),
        stop_reasons=reasons.reshape(n, g),
    )


@pytest.mark.trap(5)
def test_judge_reads_every_completion_of_every_problem():
    golds = [problem.answer for problem in PROBLEMS[:2]]
    judged = judge(TASK, PROBLEMS[:2], rollouts_of([[golds[0], "x1=" + golds[0]], ["", golds[1]]]))
    assert [[v.reward for v in one.verdicts] for one in judged] == [[1.0, 1.0], [0.0, 1.0]]
    assert [list(one.lengths) for one in judged] == [[2, 5], [1, 2]]


@pytest.mark.trap(6)
def test_a_completion_that_was_cut_off_is_wrong():
    gold = PROBLEMS[0].answer
    judged = judge(TASK, PROBLEMS[:1], rollouts_of([[gold, gold + "=" + gold]], cut_off={gold}))
    assert [v.reward for v in judged[0].verdicts] == [0.0, 1.0]


def test_evaluate_fills_the_last_batch_and_throws_the_filling_away():
    asked = []

    def sample(problems):
        asked.append(len(problems))
        return rollouts_of([[problem.answer, "="] for problem in problems])

    result = evaluate(sample, TASK, PROBLEMS, prompts_per_batch=2, bootstrap=10)
    assert asked == [2, 2, 2]
    assert [record["prompt"] for record in result.records] == [problem.prompt for problem in PROBLEMS]
    summary = result.summary
    assert summary["problems"] == 5
    assert summary["pass@1"] == summary["mean@2"] == 0.5
    assert summary["pass@2"] == 1.0
    assert summary["maj@2"] == 0.5  # "" and the answer have a vote each
    assert summary["mean_length"] == 2.0
    assert summary["mean_reward"] == 0.5
    assert set(summary["interval"]) == {"pass@1", "pass@2", "mean@2", "maj@2"}


def test_evaluate_can_be_stopped():
    asked = []

    def sample(problems):
        asked.append(len(problems))
        return rollouts_of([[problem.answer, "="] for problem in problems])

    settings = {"prompts_per_batch": 2, "bootstrap": 10}
    assert evaluate(sample, TASK, PROBLEMS, **settings, stop=lambda: len(asked) == 2) is None
    assert asked == [2, 2]
