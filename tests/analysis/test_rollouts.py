"""The analysed rollouts: their problems, their keys and their verdicts."""

import json

import jax
import numpy as np
import pytest

from grpo_jax.analysis.analyse import Settings, analyse
from grpo_jax.analysis.rollouts import _sampled, check_noise, check_weights, sample
from grpo_jax.config import ConfigError, to_dict
from grpo_jax.data import PromptSource, Split, encode_prompts
from grpo_jax.evaluation import judge_rollouts
from grpo_jax.objectives import Recipe
from grpo_jax.objectives.advantages import mean_centered
from grpo_jax.objectives.surrogates import clipped
from grpo_jax.rewards import UNSCORED, Verdict, finite_or_unscored
from grpo_jax.runs.groups import Completion, JudgedGroup
from grpo_jax.sampling import Counter, Sampler, Stream
from tests.analysis import bandit
from tests.helpers import make_config
from tests.training.test_update import experiment

SAMPLES = 4
BY_GROUP = Recipe(mean_centered, clipped, "group_token")


@pytest.fixture(scope="module")
def params():
    return experiment().programs.init_params(jax.random.key(0))


@pytest.fixture(scope="module")
def sampled(params):
    """Ten prompts, in batches of four, of which the last is filled up."""
    return sample(experiment(), params, 0, prompts=10, samples=SAMPLES)


def problems_of(sampled):
    """Return the sampled problems, identified by their tokens."""
    problems = experiment().task.problems(Split.TRAIN)
    encoded = encode_prompts(experiment().task, problems)
    by_tokens = {tuple(row): problem for row, problem in zip(encoded.tokens.tolist(), problems, strict=True)}
    return [by_tokens[tuple(row)] for row in sampled.rollouts.prompt_tokens.tolist()]


def alone(params, problem, stream):
    """Return a prompt's completions, sampled without the other prompts."""
    made = experiment()
    sampler = Sampler(
        made.programs.policy,
        made.config.rollout.sampling,
        group_size=SAMPLES,
        max_new_tokens=made.config.rollout.max_new_tokens,
        stop_tokens=made.task.stop_tokens,
        pad_token=made.task.stop_tokens[0],
    ).sample
    prompts = encode_prompts(made.task, [problem])
    return jax.device_get(jax.jit(sampler)(params, prompts, Counter.of(made.config.seed, stream, 0)))


def test_each_is_of_the_stream_of_gradients(params, sampled):
    """So the rollouts differ from those of training and of evaluations."""
    assert len(set(Stream)) == len(Stream)
    problems = problems_of(sampled)
    for place in (0, 9):
        tokens = sampled.rollouts.completion_tokens[place]
        assert (alone(params, problems[place], Stream.GRADIENTS).completion_tokens[0] == tokens).all()
        assert (alone(params, problems[place], Stream.TRAINING).completion_tokens[0] != tokens).any()


def test_problems_are_distinct_and_not_in_training_s_order(sampled):
    problems = [problem.id for problem in problems_of(sampled)]
    assert len(set(problems)) == 10
    every = experiment().task.problems(Split.TRAIN)
    first = [problem.id for problem in PromptSource(every, experiment().config.seed).take(0, 10)]
    assert problems != first
    assert problems != [problem.id for problem in every[:10]]


def test_rewards_are_the_judge_s(sampled):
    judged = judge_rollouts(experiment().task, problems_of(sampled), sampled.rollouts)
    assert sampled.rewards.tolist() == [[one.reward for one in group.completions] for group in judged]
    assert sampled.right.tolist() == [[bool(one.verdict.right) for one in group.completions] for group in judged]
    assert sampled.scored.all()


def test_what_has_no_verdict_and_what_is_not_said():
    def judged(*verdicts):
        return [JudgedGroup(0, "", "", [Completion("", 1, True, verdict) for verdict in verdicts])]

    rollouts = bandit.sampled(np.zeros((1, 3), bool)).rollouts
    right, wrong = Verdict(1.0, "", right=True), Verdict(0.0, "", right=False)
    found = _sampled(judged(right, UNSCORED, wrong), rollouts)
    assert found.scored.tolist() == [[True, False, True]]
    assert found.right.tolist() == [[True, False, False]]
    found = _sampled(judged(right, finite_or_unscored(Verdict(float("nan"), "", right=True)), wrong), rollouts)
    assert found.scored.tolist() == [[True, False, True]]
    assert _sampled(judged(right, Verdict(0.5, ""), wrong), rollouts).right is None


def test_too_many_problems_and_coupled_noise(params):
    with pytest.raises(ConfigError, match=r"^--prompts=41: the task has 40 training problems"):
        sample(experiment(), params, 0, prompts=41, samples=SAMPLES)
    check_noise("independent")
    with pytest.raises(ConfigError, match=r"^rollout\.noise='common': "):
        check_noise("common")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"rollout__sampling__top_k": 3}, "unweighted completions from the whole policy"),
        ({"rollout__sampling__top_p": 0.9}, "unweighted completions from the whole policy"),
        ({"rollout__sampling__min_p": 0.1}, "unweighted completions from the whole policy"),
        ({}, "unweighted completions from the whole policy"),  # the cap alone
        (
            {"objective__importance_cap": 0.0, "objective__aggregation": "group_token"},
            "whole group, which the analysis does not support",
        ),
        (
            {"objective__importance_cap": 0.0, "objective__name": f"{__name__}:BY_GROUP"},
            "whole group, which the analysis does not support",
        ),
    ],
)
def test_completions_that_are_not_weighed_on_their_own_are_refused(changes, sentence):
    weighed = {"objective__old_logprobs": "trainer", "objective__importance_cap": 2.0}
    with pytest.raises(ConfigError, match=sentence):
        check_weights(make_config(**weighed | changes))
    check_weights(make_config(objective__name="dapo"))


def test_the_analysis_refuses_before_it_restores(tmp_path):
    """Only the run's configuration is read before the refusal."""
    for changes, sentence in (
        ({"rollout__noise": "common"}, "independent completions"),
        ({"objective__aggregation": "group_token"}, "depends on its whole group"),
    ):
        (tmp_path / "config.json").write_text(json.dumps(to_dict(make_config(**changes))))
        with pytest.raises(ConfigError, match=sentence):
            analyse(tmp_path, Settings(prompts=8, samples=4))
