"""Judging and summarizing completions."""

import dataclasses
import json
import math
import re
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest

from grpo_jax.config import ConfigError, ModularExpressionsConfig, SamplingConfig
from grpo_jax.data import Split, encode, pad
from grpo_jax.data.tasks import ModularExpressions
from grpo_jax.evaluation import evaluate, judge_rollouts, rewards_of, right_of, summarize
from grpo_jax.rewards import Attempt, Verdict, make_reward
from grpo_jax.runs.groups import Completion, JudgedGroup
from grpo_jax.runs.lines import Scores
from grpo_jax.runs.suite_scores import SuiteShares
from grpo_jax.runs.summary import EvaluationResult
from grpo_jax.sampling import Counter as Place
from grpo_jax.sampling import EngineError, SamplingRequest, Stream
from grpo_jax.types import Rollouts, StopReason
from tests.rewards.helpers import make_config
from tests.scripted_engine import ScriptedEngine

TASK = ModularExpressions(
    ModularExpressionsConfig("modular_expressions", 1, "+", 10, train_problems=10, right="answer", credit="exact")
)
PROBLEMS = TASK.problems(Split.TRAIN, 5)


def rollouts_of(texts, cut_off=()):
    """Return host arrays as a sampler would; completions in `cut_off` lack their stop token."""
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
    judged = judge_rollouts(TASK, PROBLEMS[:2], rollouts_of([[golds[0], "x1=" + golds[0]], ["", golds[1]]]))
    assert [[one.reward for one in group.completions] for group in judged] == [[1.0, 1.0], [0.0, 1.0]]
    assert [[one.length for one in group.completions] for group in judged] == [[2, 5], [1, 2]]
    assert [(group.id, group.gold) for group in judged] == [(problem.id, problem.answer) for problem in PROBLEMS[:2]]


@pytest.mark.trap(6)
def test_a_completion_that_was_cut_off_is_wrong():
    gold = PROBLEMS[0].answer
    judged = judge_rollouts(TASK, PROBLEMS[:1], rollouts_of([[gold, gold + "=" + gold]], cut_off={gold}))
    assert [one.reward for one in judged[0].completions] == [0.0, 1.0]
    assert [one.stop_reason for one in judged[0].completions] == ["length", "stop"]


def test_a_stop_token_that_is_not_special_is_no_part_of_the_text():
    """Here the stop token is a digit: a checkpoint's stop token may be one that its tokenizer writes out."""
    (digit,) = encode(TASK.tokenizer, ["7"])[0]
    rollouts = rollouts_of([["3", "4"]], cut_off={"4"})
    rollouts.completion_tokens[0, 0, 1] = digit
    assert [one.text for one in judge_rollouts(TASK, PROBLEMS[:1], rollouts)[0].completions] == ["3", "4"]


@pytest.mark.trap(16)
@pytest.mark.parametrize("reward", [float("nan"), float("inf"), 1e20])
def test_what_has_no_finite_reward_is_unscored(reward):
    """A reward of one's own may return anything. The square of 1e20 is infinite in float32.

    So its group had no signal and, under a baseline of the whole step, neither had the others.
    """

    class Own:
        unscored = Counter()  # noqa: RUF012

        def judge(self, attempts):
            return [Verdict(reward if a.completion == "1" else -1.0, None, right=a.completion == "1") for a in attempts]

        def warm(self):
            pass

        close = warm

    judged = judge_rollouts(
        SimpleNamespace(tokenizer=TASK.tokenizer, reward=Own()), PROBLEMS[:1], rollouts_of([["1", "2"]])
    )
    rewards, scored = rewards_of(judged)
    assert (rewards.tolist(), scored.tolist()) == ([[0.0, -1.0]], [[False, True]])
    assert not right_of(judged).any()
    scores = summarize(judged, 10, Own())
    assert (scores.unscored, scores.mean_reward, scores.mean.value) == (1, -1.0, 0.0)
    (group,) = judged
    none = summarize([dataclasses.replace(group, completions=group.completions[:1])], 10, Own())
    assert none.to_json()["mean_reward"] is None
    assert not none.mean.known


def test_a_majority_of_answers_that_were_not_found_is_not_known():
    """As with a function of one's own that judges texts without a box: it was 0, whatever was right."""

    def scores(*answers):
        judged = [Completion("", 2, True, Verdict(float(right), answer, right=right)) for answer, right in answers]
        return summarize([JudgedGroup(7, "1+1", "2", judged)], 10, TASK.reward)

    found = scores((None, True), (None, True), ("3", False))
    assert not found.majority.known
    assert found.mean.value == pytest.approx(2 / 3)
    assert scores(("2", True), ("2", True), (None, False)).majority.value == 1


def test_without_verdicts_no_share_is_known():
    """A reward may be a plain score. Once it says of a completion whether it is right, the others count as wrong."""
    (group,) = judge_rollouts(TASK, PROBLEMS[:1], rollouts_of([["1", "2", "3"]]))

    def scores(*verdicts):
        completions = [dataclasses.replace(one, verdict=v) for one, v in zip(group.completions, verdicts, strict=True)]
        return summarize([dataclasses.replace(group, completions=completions)], 10, TASK.reward)

    plain = [Verdict(reward, "1") for reward in (-3.0, 1.0, 2.0)]
    unknown = scores(*plain)
    shares = [*unknown.pass_at, unknown.mean, unknown.majority]
    assert not any(np.isfinite(number) for share in shares for number in share)
    assert (unknown.mean_reward, unknown.unscored) == (0.0, 0)
    line = json.loads(json.dumps(unknown.to_json(), allow_nan=False))
    assert (line["pass@1"], line["maj@3"], line["interval"]["pass@3"]) == (None, None, [None, None])
    assert Scores.from_json(line).to_json() == line
    result = json.loads(json.dumps(EvaluationResult.of(unknown).to_json(), allow_nan=False))
    assert (result["pass@k"], result["pass@k curve"]) == (None, [None] * 3)
    assert EvaluationResult.from_json(result).to_json() == result
    assert SuiteShares(0.5, 0.5, math.nan, math.nan).to_json(3)["maj@3"] is None
    one = scores(Verdict(1.0, "1", right=True), *plain[1:])
    assert (one.mean.value, one.pass_at[-1].value, one.unscored) == (pytest.approx(1 / 3), 1.0, 2)


ANSWERS = {problem.prompt: problem.answer for problem in PROBLEMS}
REQUEST = SamplingRequest(
    SamplingConfig(1.0, 0, 1.0, 0.0), group_size=2, counter=Place.of(0, Stream.TEST, 0), prompts_per_batch=2
)


def right_and_wrong():
    """Return an engine whose first answer is right and whose second is wrong."""
    return ScriptedEngine(TASK, 6, lambda prompt, index: "=" if index else ANSWERS[prompt])


def test_evaluate_brings_groups_into_the_order_of_their_problems():
    result = evaluate(right_and_wrong(), TASK, PROBLEMS, REQUEST, bootstrap=10)
    assert [group.prompt for group in result.groups] == [problem.prompt for problem in PROBLEMS]
    scores = result.scores
    assert (scores.problems, scores.samples) == (5, 2)
    assert [share.value for share in scores.pass_at] == [0.5, 1.0]
    assert scores.mean == scores.pass_at[0]
    assert scores.majority.value == 0.5  # "" and the answer have a vote each
    assert scores.mean_length == 2.0
    assert scores.mean_reward == 0.5


def test_a_prompt_without_tokens_is_refused():
    """It would be the filling of a batch, whose completions end at once."""

    class Silent(ModularExpressions):
        def prompt_tokens(self, problems):
            rows = super().prompt_tokens(problems)
            return [[] if problem == PROBLEMS[1] else row for problem, row in zip(problems, rows, strict=True)]

    with pytest.raises(ConfigError, match=re.escape(f"the prompt {PROBLEMS[1].prompt!r} has no tokens")):
        evaluate(right_and_wrong(), Silent(TASK.config), PROBLEMS, REQUEST, bootstrap=10)


def test_evaluate_can_be_stopped():
    engine, progress = right_and_wrong(), []
    settings = {"bootstrap": 10, "progress": progress.append}
    assert evaluate(engine, TASK, PROBLEMS, REQUEST, **settings, stop=lambda: engine.finished == 2) is None
    assert engine.finished == 2
    assert progress == [0, 1, 2]
    assert evaluate(engine, TASK, PROBLEMS, REQUEST, **settings, stop=lambda: engine.finished == 2 + 5)


def test_an_engine_that_loses_a_group_is_caught():
    class Lossy(ScriptedEngine):
        def sample(self, prompts, request):
            return (group for group in super().sample(prompts, request) if group.indices != [2])

    engine = Lossy(TASK, 6, lambda prompt, index: ANSWERS[prompt])
    with pytest.raises(EngineError, match="did not return every prompt's group exactly once"):
        evaluate(engine, TASK, PROBLEMS, REQUEST, bootstrap=10)


def majority(reward, gold, *answers, prompt="?"):
    """Return maj@n of one problem under a reward."""
    attempts = [Attempt(prompt, gold, rf"so \boxed{{{answer}}}", True, 9) for answer in answers]
    completions = [Completion("", 9, True, verdict) for verdict in reward.judge(attempts)]
    return summarize([JudgedGroup(0, prompt, gold, completions)], 10, reward).majority.value


@pytest.mark.parametrize("term", ["mathematics", "numeric"])
def test_spellings_of_one_answer_vote_together(term):
    reward = make_reward(make_config(terms={term: 1.0, "boxed_format": 0.1}), 20)
    assert majority(reward, "0.5", r"\frac12" if term == "mathematics" else "2/4", "1/2", ".5", "3", "3") == 1.0
    assert majority(reward, "0.5", "1/2", ".5", "3", "6/2", "3.0") == 0.0
    assert majority(reward, "0.5", "1/2", ".5", "3", "6/2") == 0.5
    assert majority(reward, "0.5", "1/2", ".5", "what", "you", "like") == 1.0  # texts that cannot be read
    assert majority(reward, "0.5", "1/2", ".5", "what", "what", "what") == 0.0
    reward.close()


def test_which_answers_are_one_may_depend_on_the_question():
    reward = make_reward(make_config(terms={"mathematics": 1.0}), 20)
    answers = ("2, 1", "2, 1", "3, 4", "4, 3", "3, 4")
    assert majority(reward, "1, 2", *answers, prompt="Find both roots.") == 0.0  # 3 and 4, three times
    answers = ("1, 2", "1, 2", "3, 4", "4, 3", "5, 6")
    assert majority(reward, "1, 2", *answers, prompt="Find the first two terms of the sequence.") == 1.0
    reward.close()


def test_expressions_are_compared_by_the_verifiers_processes():
    reward = make_reward(make_config(terms={"mathematics": 1.0}), 20)
    wrong = (r"\sqrt{8}", r"2\sqrt2", r"\frac{4}{\sqrt2}")
    assert majority(reward, "x^2-1", "(x-1)(x+1)", "-1+x^2", *wrong) == 0.0
    assert majority(reward, "x^2-1", "(x-1)(x+1)", "-1+x^2", *wrong[:2]) == 0.5
    reward.close()


def test_a_reward_of_ones_own_has_its_own_notion():
    """Without such a method, answers are equal if their texts are."""

    class Parity:
        unscored = Counter()  # noqa: RUF012

        def judge(self, attempts):
            return [Verdict(1.0, a.completion[-2], right=a.completion[-2] == a.gold) for a in attempts]

        def warm(self):
            pass

        close = warm

    class Equating(Parity):
        def same(self, prompt, answer, others):
            return [int(answer) % 2 == int(other) % 2 for other in others]

    assert majority(Parity(), "2", "2", "2", "3", "5", "7") == 1.0
    assert majority(Equating(), "2", "2", "2", "3", "5", "7") == 0.0


def test_a_function_of_ones_own_votes_by_what_is_boxed():
    reward = make_reward(make_config(terms={"tests.evaluation.test_evaluate:even": 1.0}), 20)
    assert majority(reward, "even", "2", "2", "4", "5") == 1.0
    assert majority(reward, "even", "2", "4", "5", "5") == 0.0


def even(attempt):
    return float(attempt.completion[-2] in "02468")
