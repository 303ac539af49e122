"""Rewards that an objective, or a selection of prompts, cannot use."""

import dataclasses
import re
from contextlib import nullcontext

import numpy as np
import pytest

from grpo_jax.config import ConfigError, WeightedSelectionConfig, load
from grpo_jax.objectives import OBJECTIVES, make_objective
from grpo_jax.rewards import Verdict
from grpo_jax.runs.ending import TrainingError
from grpo_jax.runs.groups import Completion, JudgedGroup
from grpo_jax.training.unfit import check_range, check_rewards
from tests.helpers import CONFIGS, make_config

HALF = [Verdict(0.5, None)]
OF_UNIT_REWARDS = ["f_grpo", "psr", "nsr", "w_reinforce"]


def questions(objective, terms):
    fields = [("objective.name", objective), ("objective.aggregation", "published"), ("task.reward.terms", str(terms))]
    return load(CONFIGS / "my_questions.py", [*fields, ("task.reward.overlong_tokens", "8")])


def check_both(config, verdicts):
    """The checks before anything is computed, and of a batch with these verdicts on the completions of a prompt."""
    objective = make_objective(config.objective, config.rollout.group_size)
    check_range(config, objective)
    groups = [JudgedGroup(7, "1+1", "2", [Completion("", 1, True, verdict) for verdict in verdicts])]
    rewards, scored = np.array([[one.reward for one in verdicts]]), np.array([[one.scored for one in verdicts]])
    check_rewards(config, objective, groups, rewards, scored, step=1)


def test_which_formulas_are_for_rewards_from_0_to_1():
    assert sorted(OF_UNIT_REWARDS) == sorted(name for name, recipe in OBJECTIVES.items() if recipe.unit_rewards)
    assert [name for name, recipe in OBJECTIVES.items() if recipe.needs_success] == ["two_grpo_rescaled"]


@pytest.mark.parametrize(("name", "compares"), [("grpo", True), ("history_baseline", True), ("psr", False)])
def test_a_tolerance_that_no_two_rewards_exceed_is_refused_where_rewards_are_compared(name, compares):
    config = make_config(objective__name=name, objective__no_signal_tolerance=1.0)
    made = make_objective(config.objective, config.rollout.group_size)
    assert made.has_tolerance == compares
    wrapped = dataclasses.replace(made, advantages=lambda outcomes: made.advantages(outcomes))
    for objective in (made, wrapped):
        with pytest.raises(ConfigError, match="no_signal_tolerance=1:") if compares else nullcontext():
            check_range(config, objective)


@pytest.mark.parametrize("objective", OF_UNIT_REWARDS)
@pytest.mark.parametrize(
    ("terms", "ends"),
    [
        ({"mathematics": 2.0}, "0 to 2"),
        ({"mathematics": 1.0, "boxed_format": 0.1}, "0 to 1.1"),
        ({"mathematics": 1.0, "overlong": 1.0}, "-1 to 1"),
        ({"mathematics": 1.0, "boxed_format": -0.5}, "-0.5 to 1"),
    ],
)
def test_a_reward_of_another_range_is_refused_before_anything_is_computed(objective, terms, ends):
    sentence = rf"^task\.reward\.terms: .* is from {re.escape(ends)}, .* objective\.name='{objective}' .*; change the w"
    with pytest.raises(ConfigError, match=sentence):
        check_both(questions(objective, terms), HALF)
    check_both(questions("grpo", terms), HALF)


@pytest.mark.parametrize(
    "terms",
    [{"mathematics": 1.0}, {"mathematics": 0.5, "boxed_format": 0.5}, {"mathematics": 1.0, "math:sqrt": 5.0}],
)
def test_a_reward_that_may_fit_is_not(terms):
    check_both(questions("nsr", terms), [Verdict(0.0, None), Verdict(1.0 + 1e-6, None)])


@pytest.mark.parametrize("reward", [2.0, -1.0])
def test_a_reward_that_does_not_fit_stops_the_first_step(reward):
    """Of the user's own terms and tasks only the rewards themselves tell."""
    one, none = Verdict(reward, None, right=True), Verdict(0.0, None, scored=False)
    for objective in OF_UNIT_REWARDS:
        sentence = (
            rf"^step 1: a completion has the reward {reward:g}, .*objective\.name='{objective}' are for .*; scale"
        )
        with pytest.raises(TrainingError, match=sentence):
            check_both(make_config(objective__name=objective), [Verdict(0.5, None), one])
        check_both(make_config(objective__name=objective), [Verdict(0.5, None), none])
    check_both(make_config(), [Verdict(0.5, None), one])


def test_a_chance_to_be_right_needs_verdicts_or_rewards_from_0_to_1():
    rescaled = make_config(objective__name="two_grpo_rescaled")
    selected = make_config(rollout__selection__name="weighted")
    assert isinstance(selected.rollout.selection, WeightedSelectionConfig)
    for config, field in ((rescaled, "objective.name='two_grpo_rescaled'"), (selected, "rollout.selection.name='wei")):
        check_both(config, [Verdict(2.0, None, right=True), Verdict(0.5, None)])
        with pytest.raises(TrainingError, match=rf"^step 1: a completion has the reward 2, and nothing says .*{field}"):
            check_both(config, [Verdict(2.0, None), Verdict(0.5, None)])
