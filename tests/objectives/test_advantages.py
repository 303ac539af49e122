"""Advantages of hand-made groups."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from grpo_jax.objectives import contrastive_advantages, group_normalized, leave_one_out, mean_centered

ESTIMATORS = (group_normalized, mean_centered, leave_one_out, contrastive_advantages)
PAIR = jnp.array([[1.0, 0.0]])
ALL = jnp.ones((1, 2), bool)


def binary(positives: int, size: int) -> jax.Array:
    return (jnp.arange(size) < positives)[None].astype(jnp.float32)


@pytest.mark.trap(10)
@pytest.mark.parametrize(
    ("estimator", "expected"),
    [
        (lambda r, s: group_normalized(r, s, ddof=0), 1.0),
        (lambda r, s: group_normalized(r, s, ddof=1), 0.70710678),
        (mean_centered, 0.5),
        (leave_one_out, 1.0),
        (contrastive_advantages, 1.0),
    ],
)
def test_scale_of_a_valid_pair(estimator, expected):
    np.testing.assert_allclose(estimator(PAIR, ALL), [[expected, -expected]], rtol=1e-6)


@pytest.mark.trap(10)
def test_ddof_at_sixteen_differs_by_three_percent():
    rewards, scored = binary(5, 16), jnp.ones((1, 16), bool)
    ratio = group_normalized(rewards, scored, ddof=1) / group_normalized(rewards, scored, ddof=0)
    np.testing.assert_allclose(ratio, (15 / 16) ** 0.5, rtol=1e-6)


@pytest.mark.parametrize("size", [2, 3, 4, 8, 16])
def test_contrastive_is_group_normalized_for_every_split(size):
    scored = jnp.ones((1, size), bool)
    for positives in range(size + 1):
        rewards = binary(positives, size)
        np.testing.assert_allclose(
            contrastive_advantages(rewards, scored), group_normalized(rewards, scored), atol=1e-6
        )


def test_leave_one_out_is_the_mean_of_the_others():
    rewards = jnp.array([[0.3, 0.9, 0.1, 0.5]])
    expected = [[r - (rewards.sum() - r) / 3 for r in rewards[0]]]
    np.testing.assert_allclose(leave_one_out(rewards, jnp.ones((1, 4), bool)), np.array(expected), rtol=1e-5)


@pytest.mark.trap(11)
@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("rewards", [[0.0] * 4, [1.0] * 4, [0.1, 0.1 + 1e-8, 0.1, 0.1 - 1e-8]])
def test_ties_give_exactly_zero(estimator, rewards):
    advantages = estimator(jnp.array([rewards]), jnp.ones((1, 4), bool))
    np.testing.assert_array_equal(advantages, np.zeros((1, 4)))


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_advantages_of_a_full_group_add_up_to_zero(estimator):
    rewards = jnp.array([[0.0, 1.0, 1.0, 0.0, 1.0]])
    assert abs(float(estimator(rewards, jnp.ones((1, 5), bool)).sum())) < 1e-5


@pytest.mark.trap(16)
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_unscored_is_not_a_reward_of_zero(estimator):
    """A completion without a verdict changes nothing for the others, and gets no advantage."""
    with_unscored = estimator(jnp.array([[1.0, 0.0, 1.0, 7.0]]), jnp.array([[True, True, True, False]]))
    without = estimator(jnp.array([[1.0, 0.0, 1.0]]), jnp.ones((1, 3), bool))
    np.testing.assert_allclose(with_unscored[:, :3], without, rtol=1e-6)
    assert with_unscored[0, 3] == 0.0


@pytest.mark.trap(12)
@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("scored", [[True, False], [False, True], [False, False]])
def test_a_pair_with_one_verdict_is_no_pair(estimator, scored):
    np.testing.assert_array_equal(estimator(PAIR, jnp.array([scored])), np.zeros((1, 2)))


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_groups_do_not_see_each_other(estimator):
    rewards = jnp.array([[1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    scored = jnp.array([[True, True, True], [True, False, True], [True, True, True]])
    together = estimator(rewards, scored)
    for index in range(3):
        np.testing.assert_array_equal(
            together[index], estimator(rewards[index : index + 1], scored[index : index + 1])[0]
        )


def test_contrastive_takes_the_better_of_any_two_rewards():
    rewards = jnp.array([[0.2, 0.7], [-3.0, -4.0]])
    np.testing.assert_array_equal(contrastive_advantages(rewards, jnp.ones((2, 2), bool)), [[-1.0, 1.0], [1.0, -1.0]])


def test_epsilon_is_added_to_the_deviation():
    np.testing.assert_allclose(group_normalized(PAIR, ALL, epsilon=0.5), [[0.5, -0.5]], rtol=1e-6)
