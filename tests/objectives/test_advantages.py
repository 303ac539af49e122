"""Advantages of hand-made groups."""

from functools import cache, partial, wraps

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from grpo_jax.objectives import Outcomes, advantages
from grpo_jax.objectives.outcomes import rewards_differ
from tests.objectives.helpers import outcomes


def compiled(estimator):
    """Make an estimator one program for each of its settings: JAX would compile its operations one by one."""
    program = cache(lambda **settings: jax.jit(partial(estimator, **settings)))
    return wraps(estimator)(lambda outcomes, **settings: np.array(program(**settings)(outcomes)))


contrastive, focal, group_normalized = map(
    compiled, (advantages.contrastive, advantages.focal, advantages.group_normalized)
)
leave_one_out, length_weighted = map(compiled, (advantages.leave_one_out, advantages.length_weighted))
mean_centered, rescaled = map(compiled, (advantages.mean_centered, advantages.rescaled))
ESTIMATORS = (group_normalized, mean_centered, leave_one_out, contrastive, focal)
PAIR = Outcomes(rewards=jnp.array([[1.0, 0.0]]), scored=jnp.ones((1, 2), bool))


def binary(positives: int, size: int) -> np.ndarray:
    return (np.arange(size) < positives)[None].astype(np.float32)


@pytest.mark.trap(10)
@pytest.mark.parametrize(
    ("estimator", "expected"),
    [
        (partial(group_normalized, ddof=0), 1.0),
        (partial(group_normalized, ddof=1), 0.70710678),
        (mean_centered, 0.5),
        (leave_one_out, 1.0),
        (contrastive, 1.0),
    ],
)
def test_scale_of_a_valid_pair(estimator, expected):
    np.testing.assert_allclose(estimator(PAIR), [[expected, -expected]], rtol=1e-6)


@pytest.mark.trap(10)
def test_ddof_at_sixteen_differs_by_three_percent():
    sixteen = outcomes(binary(5, 16))
    ratio = group_normalized(sixteen, ddof=1) / group_normalized(sixteen, ddof=0)
    np.testing.assert_allclose(ratio, (15 / 16) ** 0.5, rtol=1e-6)


@pytest.mark.parametrize("size", [2, 3, 4, 8, 16])
def test_contrastive_is_group_normalized_for_every_split(size):
    groups = outcomes(np.concatenate([binary(positives, size) for positives in range(size + 1)]))
    np.testing.assert_allclose(contrastive(groups), group_normalized(groups), atol=1e-6)


def test_who_is_at_the_mean_is_neither_right_nor_wrong():
    """Whatever the mean in float32 is rounded to: equally spaced rewards, some of whose means come out below them."""
    spaced = [[start / 20, (start + gap) / 20, (start + 2 * gap) / 20] for start in range(20) for gap in range(1, 20)]
    expected = np.array([[-1.0, 0.0, 1.0]] * len(spaced))
    np.testing.assert_array_equal(contrastive(outcomes(spaced)), expected)
    above_two = contrastive(outcomes([[0.0, 0.0, 0.3, 0.9, 0.3]]))
    np.testing.assert_allclose(above_two, np.array([[-1, -1, 0, 2, 0]]) / np.array([[2**0.5]]), rtol=1e-5)


def test_leave_one_out_is_the_mean_of_the_others():
    rewards = np.array([[0.3, 0.9, 0.1, 0.5]], np.float32)
    expected = [[r - (rewards.sum() - r) / 3 for r in rewards[0]]]
    np.testing.assert_allclose(leave_one_out(outcomes(rewards)), np.array(expected), rtol=1e-5)


@pytest.mark.trap(11)
@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("rewards", [[0.0] * 4, [1.0] * 4, [0.1, 0.1 + 1e-8, 0.1, 0.1 - 1e-8]])
def test_ties_give_exactly_zero(estimator, rewards):
    np.testing.assert_array_equal(estimator(outcomes([rewards])), np.zeros((1, 4)))


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_advantages_of_a_full_group_add_up_to_zero(estimator):
    assert abs(float(estimator(outcomes([[0.0, 1.0, 1.0, 0.0, 1.0]])).sum())) < 1e-5


@pytest.mark.trap(16)
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_unscored_is_not_a_reward_of_zero(estimator):
    """A completion without a verdict changes nothing for the others, and gets no advantage."""
    with_unscored = estimator(outcomes([[1.0, 0.0, 1.0, 7.0]], [[True, True, True, False]]))
    without = estimator(outcomes([[1.0, 0.0, 1.0]]))
    np.testing.assert_allclose(with_unscored[:, :3], without, rtol=1e-6)
    assert with_unscored[0, 3] == 0.0


@pytest.mark.trap(12)
@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("scored", [[True, False], [False, True], [False, False]])
def test_a_pair_with_one_verdict_is_no_pair(estimator, scored):
    pair = outcomes([[1.0, 0.0]], [scored])
    assert not rewards_differ(pair, 1e-6).any()
    np.testing.assert_array_equal(estimator(pair), np.zeros((1, 2)))


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_groups_do_not_see_each_other(estimator):
    rewards = np.array([[1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    scored = np.array([[True, True, True], [True, False, True], [True, True, True]])
    together = estimator(outcomes(rewards, scored))
    for index in range(3):
        alone = outcomes(rewards[index : index + 1], scored[index : index + 1])
        np.testing.assert_array_equal(together[index], estimator(alone)[0])


def test_contrastive_takes_the_better_of_any_two_rewards():
    rewards = jnp.array([[0.2, 0.7], [-3.0, -4.0]])
    np.testing.assert_array_equal(contrastive(outcomes(rewards)), [[-1.0, 1.0], [1.0, -1.0]])


def test_epsilon_is_added_to_the_deviation():
    np.testing.assert_allclose(group_normalized(PAIR, epsilon=0.5), [[0.5, -0.5]], rtol=1e-6)


def test_the_focal_weight_by_hand():
    """One of four is right: (1 - 1/4)^2 times GRPO's sqrt(3) and -1/sqrt(3)."""
    found = focal(outcomes(binary(1, 4)), gamma=2.0)
    np.testing.assert_allclose(found, [[0.5625 * 3**0.5] + [-0.5625 / 3**0.5] * 3], rtol=1e-6)


def test_opo_weighs_the_baseline_by_length():
    """Lengths 1, 3, 4: the baseline is (1 x 1 + 4 x 0.5) / 8; what has no verdict is no part of it."""
    found = length_weighted(
        outcomes([[1.0, 0.0, 0.5, 9.0]], [[True, True, True, False]], lengths=jnp.array([[1, 3, 4, 7]]))
    )
    np.testing.assert_allclose(found, [[0.625, -0.375, 0.125, 0.0]], rtol=1e-6)


def test_opo_with_equal_lengths_is_mean_centered():
    group = outcomes([[1.0, 0.0, 0.3]], lengths=jnp.full((1, 3), 5))
    np.testing.assert_allclose(length_weighted(group), mean_centered(group), atol=1e-7)


def test_rescaled_pairs_by_hand():
    """1/sqrt(p(1-p)) is 2 at 1/2, 2.5 at 0.2, and bounded at the ends."""
    group = outcomes([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], success=jnp.array([0.5, 0.2, 0.0, 0.5]))
    bound = 1 / (0.05 * 0.95) ** 0.5
    np.testing.assert_allclose(rescaled(group), [[2, -2], [-2.5, 2.5], [bound, -bound], [0, 0]], rtol=1e-6)
    assert rescaled(group, floor=0.01)[2, 0] > 10


def test_the_rescaled_pair_weighs_prompts_as_a_large_group_does():
    """E[A r] over pairs is p(1-p), times 1/sqrt(p(1-p)) what an infinite group gives: sqrt(p(1-p))."""
    for p in (0.1, 0.3, 0.5, 0.8):
        of_a_valid_pair = rescaled(outcomes([[1.0, 0.0]], success=jnp.array([p])))[0, 0]
        assert 2 * p * (1 - p) * float(of_a_valid_pair) / 2 == pytest.approx((p * (1 - p)) ** 0.5, rel=1e-5)


@pytest.mark.parametrize(("size", "tolerance"), [(32, 0.1), (64, 0.05), (4096, 0.5)])
def test_the_tolerance_of_a_contrast_is_of_the_spread(size, tolerance):
    """One right completion among many: the wrong ones lie close to the mean, and are wrong."""
    group = outcomes(binary(1, size))
    np.testing.assert_allclose(
        contrastive(group, tolerance=tolerance), group_normalized(group, tolerance=tolerance), rtol=1e-4
    )
