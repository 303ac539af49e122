"""The table of docs/objectives.md, and the limits in which one objective is another."""

import inspect
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from grpo_jax.objectives import OBJECTIVES, Outcomes
from tests.helpers import ROOT
from tests.objectives.helpers import groups_of, made_of

ROWS = re.findall(r"^\| `(\w+)` \|(.*)\|$", (ROOT / "docs" / "objectives.md").read_text(), re.MULTILINE)
REWARDS = jnp.array([[1.0, 0.0, 0.0, 1.0], [0.0, 0.0, 1.0, 0.0], [1.0, 1.0, 1.0, 1.0]])
LENGTHS = jnp.array([[2, 5, 3, 1], [4, 1, 2, 2], [1, 2, 3, 4]])
FIELDS = {"clip_low", "clip_high", "ddof", "epsilon", "tolerance"}  # of the section `objective`


def gradient(objective, rewards=REWARDS, lengths=LENGTHS, *, shift=0.3):
    """By the log-probabilities of random completions; `shift` makes it off-policy."""
    keys = jax.random.split(jax.random.key(0), 2)
    old = jax.random.uniform(keys[0], (*lengths.shape, 5), minval=-3.0, maxval=-0.1)
    logprobs = old + shift * jax.random.normal(keys[1], old.shape)
    outcomes = Outcomes(
        rewards=rewards,
        scored=jnp.ones(rewards.shape, bool),
        lengths=lengths,
        expected=jnp.full(len(rewards), 0.4),
        evidence=jnp.full(len(rewards), 3.0),
    )
    advantages = jax.jit(objective.advantages)(outcomes)
    reference = old if objective.needs_reference else None
    groups = groups_of(old=old, sampler=old, reference=reference, lengths=lengths, advantages=advantages)
    return np.array(jax.jit(jax.grad(lambda x: objective.loss(x, groups).total))(logprobs))


def test_the_table_names_every_objective_with_its_aggregation():
    assert {name: row.split(" | ")[2].strip() for name, row in ROWS} == {
        name: recipe.aggregation for name, recipe in OBJECTIVES.items()
    }


def test_the_table_names_every_parameter_with_its_value():
    for name, row in ROWS:
        cell = row.split(" | ")[3]
        written = {word: float(value) for word, value in re.findall(r"`(\w+)` ([\d.e-]+)", cell)}
        recipe = OBJECTIVES[name]
        has = {
            parameter.name: parameter.default
            for part in (recipe.advantages, recipe.surrogate)
            for parameter in inspect.signature(part).parameters.values()
            if parameter.kind is parameter.KEYWORD_ONLY and parameter.name not in FIELDS
        }
        assert written == has, name


@pytest.mark.parametrize(
    ("name", "changes", "other"),
    [
        ("f_grpo", {"parameters": {"gamma": 0.0}}, "grpo"),
        ("grpo_dual_clip", {"parameters": {"dual_clip": math.inf}}, "grpo"),
        ("dapo", {"aggregation": "sequence"}, "grpo"),
        ("dr_grpo", {"aggregation": "sequence"}, "ctr_grpo"),
        ("n_vs_m", {}, "grpo"),
        ("history_baseline", {"parameters": {"trust": 0.0}}, "rloo"),
        ("w_reinforce", {"parameters": {"positive_weight": 0.0}}, "nsr"),
    ],
)
def test_in_a_limit_one_is_another(name, changes, other):
    found = gradient(made_of(name, 4, **changes))
    assert np.abs(found).max() > 0.01
    np.testing.assert_allclose(found, gradient(made_of(other, 4)), atol=2e-6)


@pytest.mark.parametrize("name", ["gspo", "gmpo", "cispo", "sapo", "grpo_dual_clip"])
def test_on_policy_the_surrogates_of_grpo_are_one(name):
    found = gradient(made_of(name, 4, aggregation="sequence"), shift=0.0)
    np.testing.assert_allclose(found, gradient(made_of("grpo", 4), shift=0.0), atol=1e-6)


def test_pairs_of_any_rewards_become_signs_or_keep_their_difference():
    rewards, lengths = jnp.array([[0.9, 0.8], [1.0, 0.0]]), jnp.full((2, 2), 3)
    outcomes = Outcomes(rewards=rewards, scored=jnp.ones((2, 2), bool), lengths=lengths, expected=jnp.full(2, 0.5))

    def advantages(name):
        return made_of(name, 2).advantages(outcomes)

    for name in ("two_grpo", "grpo", "n_vs_m"):
        np.testing.assert_allclose(advantages(name), [[1, -1], [1, -1]], rtol=1e-5)
    np.testing.assert_allclose(advantages("rloo"), [[0.1, -0.1], [1, -1]], atol=1e-6)
    np.testing.assert_allclose(advantages("ctr_grpo"), [[0.05, -0.05], [0.5, -0.5]], atol=1e-6)
    np.testing.assert_allclose(advantages("nsr"), [[-0.1, -0.2], [0, -1]], atol=1e-6)
