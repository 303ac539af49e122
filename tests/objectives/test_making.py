"""The reasons for which an objective is refused, whoever wrote its recipe."""

from functools import partial
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from grpo_jax.config import ConfigError, Range
from grpo_jax.objectives import OBJECTIVES, Outcomes, Recipe, check_resampling, check_updates, make_objective
from grpo_jax.objectives.advantages import mean_centered
from grpo_jax.objectives.surrogates import clipped, policy_gradient
from grpo_jax.training.experiment import build
from tests.helpers import make_config

ONE_DEVICE = jax.devices()[:1]
WITHOUT_A_RATIO = {"gpg", "opo"}


def plain_sum(terms):
    """The policy gradient of someone who did not know ours."""
    return -(terms.weights * terms.advantages[..., None] * terms.logprobs).sum()


def twice_clipped(terms, *, clip_low, clip_high):
    return 2 * clipped(terms, clip_low=clip_low, clip_high=clip_high)


def of_all(outcomes):
    """Take a completion without a verdict for a wrong one."""
    return outcomes.rewards - outcomes.rewards.mean(-1, keepdims=True)


def of_baseline(outcomes):
    """Leave it out, but not out of the baseline."""
    return jnp.where(outcomes.scored, of_all(outcomes), 0.0)


def by_position(outcomes, penalty=2.0):
    return penalty * mean_centered(outcomes)


def ignoring_the_clip(terms, clip_low=0.2, *, clip_high):
    return clipped(terms, clip_low=clip_low, clip_high=clip_high)


def with_a_range(outcomes, *, penalty: "Annotated[float, Range(0, 1)]" = 1.0):  # as `from __future__` makes it
    return penalty * mean_centered(outcomes)


def with_another_range(terms, *, penalty: "Annotated[float, Range(0.5)]" = 1.0):
    return penalty * plain_sum(terms)


def with_an_unknown_kind(outcomes, *, penalty: "Nowhere" = 1.0):  # noqa: F821
    return penalty * mean_centered(outcomes)


def of_the_step(outcomes):
    """Divide by the deviation of all rewards, which those of a single group may lack."""
    rewards = outcomes.rewards
    mean = rewards.mean(where=outcomes.scored)
    return jnp.where(outcomes.scored, (rewards - mean) / rewards.std(where=outcomes.scored), 0.0)


OF_THE_STEP = Recipe(of_the_step, clipped)
BY_POSITION, IGNORING = Recipe(by_position, clipped), Recipe(mean_centered, ignoring_the_clip)
RANGED, UNKNOWN = Recipe(with_a_range, with_another_range), Recipe(with_an_unknown_kind, clipped)
NOT_TWO = Recipe(mean_centered, clipped)
object.__setattr__(NOT_TWO, "surrogate", 3)  # the tests' type checks would refuse it
OF_GROUPS = Recipe(lambda outcomes: outcomes.rewards.mean(-1), clipped)
UNTRACED = Recipe(lambda outcomes: outcomes.rewards if outcomes.rewards.sum() > 0 else 0, clipped)
ENDLESS = Recipe(lambda outcomes: outcomes.rewards / 0, clipped)
OF_TOKENS = Recipe(mean_centered, lambda terms: terms.logprobs)
MISSPELT = Recipe(mean_centered, lambda terms: terms.logprob.sum())
NOT_FINITE = Recipe(mean_centered, lambda terms: (terms.logprobs / 0).sum())
OF_ALL, OF_BASELINE = Recipe(of_all, clipped), Recipe(of_baseline, clipped)
OURS = Recipe(mean_centered, policy_gradient)
PARTIAL = Recipe(mean_centered, partial(policy_gradient))
OWN = Recipe(mean_centered, plain_sum)
CLIPPED = Recipe(mean_centered, twice_clipped)


def check(name, minibatches=2, **changes):
    config = make_config(objective__name=name, **changes)
    check_updates(config.objective, make_objective(config.objective, 2), config.rollout, minibatches)


@pytest.mark.parametrize("name", [name for name, recipe in OBJECTIVES.items() if recipe.group_size in (None, 2)])
def test_what_has_no_ratio_is_for_one_update_a_batch(name):
    check(name, minibatches=1)
    if name in WITHOUT_A_RATIO:
        with pytest.raises(ConfigError, match=f"^train.minibatches=2: {name} has no ratio to an old policy"):
            check(name)
    else:
        check(name)


def test_what_has_no_ratio_needs_weights_if_an_older_policy_samples():
    with pytest.raises(ConfigError, match=r"^rollout\.delay=1: gpg has no ratio to the older policy that samples"):
        check("gpg", minibatches=1, rollout__delay=1)
    check("gpg", 1, rollout__delay=1, objective__old_logprobs="trainer", objective__importance_cap=2)
    check("grpo", 1, rollout__delay=1)


@pytest.mark.trap(16)
@pytest.mark.parametrize("name", ["OF_ALL", "OF_BASELINE"])
@pytest.mark.parametrize("size", [2, 3])
def test_an_estimator_of_ones_own_leaves_out_what_has_no_verdict(name, size):
    config = make_config(objective__name=f"{__name__}:{name}").objective
    with pytest.raises(ConfigError, match=r"its advantages use the reward of a completion that has no verdict, or"):
        make_objective(config, size)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("NOT_TWO", "is not a Recipe of two functions, with an aggregation out of sequence, "),
        (
            "OF_GROUPS",
            r"its advantages cannot be used \(ValueError: for rewards of the shape \(3, 2\) their shape is \(3,\)",
        ),
        (
            "UNTRACED",
            r"its advantages cannot be used \(TracerBoolConversionError: .*, in .*test_making.py:\d+\); correct",
        ),
        ("ENDLESS", "its advantages cannot be used .*not finite"),
        ("OF_TOKENS", r"its surrogate cannot be used \(TypeError: .*scalar"),
        ("MISSPELT", "its surrogate cannot be used .*no attribute 'logprob'"),
        ("NOT_FINITE", "its surrogate cannot be used .*its gradient is not finite"),
    ],
)
def test_parts_of_ones_own_are_tried_before_anything_is_computed(name, sentence):
    with pytest.raises(ConfigError, match=rf"^objective\.name='{__name__}:{name}': {sentence}"):
        make_objective(make_config(objective__name=f"{__name__}:{name}").objective, 2)


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        (
            "BY_POSITION",
            1.0,
            r"objective\.name='.*': its parameter penalty is not keyword-only, .*; write \* before it\.$",
        ),
        ("IGNORING", None, r"objective\.name='.*': its parameter clip_low is not keyword-only"),
        ("RANGED", 1.5, r"objective\.parameters\.penalty=1\.5: must be at least 0 and at most 1\.$"),
        ("RANGED", 0.1, r"objective\.parameters\.penalty=0\.1: must be at least 0\.5\.$"),
        ("UNKNOWN", 1.0, r"objective\.name='.*': the annotations of .* \(NameError: name 'Nowhere' is not defined\)"),
    ],
)
def test_parameters_of_ones_own_are_reached_and_checked(name, value, sentence):
    changes = {} if value is None else {"objective__parameters__penalty": value}
    with pytest.raises(ConfigError, match=f"^{sentence}"):
        make_objective(make_config(objective__name=f"{__name__}:{name}", **changes).objective, 2)


def test_a_value_within_its_range_reaches_both_functions():
    config = make_config(objective__name=f"{__name__}:RANGED", objective__parameters__penalty=0.75).objective
    outcomes = Outcomes(rewards=jnp.array([[1.0, 0.0]]), scored=jnp.ones((1, 2), bool))
    np.testing.assert_allclose(make_objective(config, 2).advantages(outcomes), [[0.375, -0.375]])


@pytest.mark.parametrize("name", ["OURS", "PARTIAL", "OWN"])
def test_so_is_a_recipe_of_ones_own(name):
    with pytest.raises(ConfigError, match="is for one update a batch"):
        check(f"{__name__}:{name}")
    with pytest.raises(ConfigError, match="is for one update a batch"):  # a KL term makes no ratio
        check(f"{__name__}:{name}", objective__kl_coef=0.1)
    check(f"{__name__}:CLIPPED")


@pytest.mark.trap(15)
def test_groups_are_replaced_if_the_advantages_of_one_alone_are_known():
    batches = {"rollout__prompts_per_step": 4, "rollout__prompts_per_batch": 4}
    build(make_config(objective__name=f"{__name__}:OF_THE_STEP", **batches), ONE_DEVICE)
    for name in OBJECTIVES:
        config = make_config(objective__name=name, rollout__max_rollouts=16, **batches)
        check_resampling(config.objective, make_objective(config.objective, 2), config.rollout)
    sentence = (
        r"^rollout\.max_rollouts=16: the advantages of .*:OF_THE_STEP cannot be used for a group alone, .* finite"
    )
    with pytest.raises(ConfigError, match=sentence):
        build(make_config(objective__name=f"{__name__}:OF_THE_STEP", rollout__max_rollouts=16, **batches), ONE_DEVICE)


def test_it_is_refused_before_anything_is_built():
    with pytest.raises(ConfigError, match=r"^train\.minibatches=2: gpg has no ratio"):
        build(make_config(objective__name="gpg", train__minibatches=2))
