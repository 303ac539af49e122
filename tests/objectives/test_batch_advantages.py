"""Advantages that look beyond their group, or at no baseline at all, by hand."""

import jax.numpy as jnp
import numpy as np
import pytest

from grpo_jax.objectives.batch_advantages import (
    batch_normalized,
    batch_scaled,
    centered_batch_normalized,
    reinforcement,
)
from tests.objectives.helpers import outcomes

ALL_OF_A_STEP = (batch_normalized, batch_scaled, centered_batch_normalized)
REWARDS = jnp.array([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0], [0.0, 1.0]])  # mean 1/2, standard deviation 1/2


def test_reinforce_pp_by_hand():
    """Groups of one kind learn too: from the others of the step."""
    np.testing.assert_allclose(batch_normalized(outcomes(REWARDS)), 2 * REWARDS - 1, rtol=1e-6)


def test_reinforce_pp_baseline_by_hand():
    """Centred: +-1/2 four times and 0 four times, of standard deviation sqrt(1/8)."""
    expected = np.array([[1, -1], [0, 0], [0, 0], [-1, 1]]) * 2**0.5
    np.testing.assert_allclose(centered_batch_normalized(outcomes(REWARDS)), expected, rtol=1e-6)


def test_lite_ppo_by_hand():
    """Centred by the group, over the standard deviation of all rewards, 1/2."""
    np.testing.assert_allclose(batch_scaled(outcomes(REWARDS)), [[1, -1], [0, 0], [0, 0], [-1, 1]], rtol=1e-6)


@pytest.mark.trap(11)
@pytest.mark.parametrize("estimator", ALL_OF_A_STEP)
@pytest.mark.parametrize("rewards", [np.ones((3, 2)), np.full((3, 2), 0.1) + 1e-8 * np.arange(6).reshape(3, 2)])
def test_a_step_of_equal_rewards_gives_exactly_zero(estimator, rewards):
    np.testing.assert_array_equal(estimator(outcomes(rewards.astype(np.float32))), np.zeros((3, 2)))


@pytest.mark.trap(16)
@pytest.mark.parametrize("estimator", [*ALL_OF_A_STEP, reinforcement])
def test_what_has_no_verdict_changes_nothing(estimator):
    with_unscored = estimator(outcomes([[1.0, 0.0, 7.0], [0.3, 1.0, 0.0]], [[True, True, False], [True, True, False]]))
    np.testing.assert_allclose(with_unscored[:, :2], estimator(outcomes([[1.0, 0.0], [0.3, 1.0]])), rtol=1e-6)
    np.testing.assert_array_equal(with_unscored[:, 2], 0.0)


def test_positives_and_negatives_alone():
    rewards = [[1.0, 0.0], [0.25, 1.0]]
    psr = reinforcement(outcomes(rewards), negative_weight=0.0)
    nsr = reinforcement(outcomes(rewards), positive_weight=0.0)
    np.testing.assert_allclose(psr, rewards)
    np.testing.assert_allclose(nsr, [[0.0, -1.0], [-0.75, 0.0]])
    np.testing.assert_allclose(psr + nsr, reinforcement(outcomes(rewards)))  # REINFORCE with rewards of +-1
    weighted = reinforcement(outcomes(rewards), positive_weight=0.1)
    np.testing.assert_allclose(weighted, 0.1 * psr + nsr, rtol=1e-6)
