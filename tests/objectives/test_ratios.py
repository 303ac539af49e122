"""The importance ratio and the clip: values, gradients, and what happens exactly at a bound."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from grpo_jax.objectives.ratios import clipped_surrogate, importance_ratio

LOW, HIGH = 0.2, 0.28


def slope(ratio: float, advantage: float, low: float = LOW, high: float = HIGH) -> float:
    """The derivative of a token's surrogate by its log-probability, at this ratio."""

    def surrogate(logprob):
        mask = jnp.ones((1, 1), bool)
        rho = importance_ratio(logprob[None, None], jnp.zeros((1, 1)), mask)
        return clipped_surrogate(rho, jnp.array([advantage]), low, high)[0, 0]

    return float(jax.grad(surrogate)(jnp.log(jnp.float32(ratio))))


@pytest.mark.trap(23)
@pytest.mark.parametrize(
    ("ratio", "advantage", "expected"),
    [
        (0.5, -1.0, 0.0),  # a bad token that is already much rarer: nothing more to do
        (1.5, -1.0, -1.5),  # a bad token that has become likelier: the full gradient
        (1.5, 1.0, 0.0),
        (0.5, 1.0, 0.5),
        (1.1, 1.0, 1.1),
        (0.9, -2.0, -1.8),
    ],
)
def test_clip_binds_on_the_right_side(ratio, advantage, expected):
    assert slope(ratio, advantage) == pytest.approx(expected, abs=1e-6)


def test_value_is_the_textbook_minimum():
    ratio = jnp.linspace(0.01, 3.0, 301)[None]
    for advantage in (-1.7, 0.0, 0.6):
        textbook = jnp.minimum(ratio * advantage, jnp.clip(ratio, 1 - LOW, 1 + HIGH) * advantage)
        np.testing.assert_allclose(clipped_surrogate(ratio, jnp.array([advantage]), LOW, HIGH), textbook, rtol=1e-6)


@pytest.mark.trap(24)
@pytest.mark.parametrize("advantage", [1.0, -1.0])
def test_gradient_at_a_tie_is_whole(advantage):
    """On-policy with a clip of 0 both branches are equal; neither half of the gradient may be lost."""
    assert slope(1.0, advantage, low=0.0, high=0.0) == pytest.approx(advantage)


def test_clips_can_be_switched_off():
    for ratio in (1e-6, 0.3, 1.0, 40.0):
        for advantage in (1.0, -1.0):
            assert slope(ratio, advantage, low=1.0, high=float("inf")) == pytest.approx(advantage * ratio, rel=1e-5)


@pytest.mark.trap(25)
def test_on_policy_the_gradient_is_the_advantage():
    assert slope(1.0, 0.7) == pytest.approx(0.7)


@pytest.mark.trap(28)
def test_log_ratio_is_clamped_before_the_exponential():
    ratio = importance_ratio(jnp.array([[800.0, -800.0]]), jnp.zeros((1, 2)), jnp.ones((1, 2), bool))
    np.testing.assert_allclose(ratio, [[np.exp(20.0), np.exp(-20.0)]], rtol=1e-5)


@pytest.mark.trap(7)
@pytest.mark.parametrize("garbage", [np.nan, np.inf, -np.inf])
def test_nothing_leaks_from_off_the_mask(garbage):
    mask = jnp.array([[True, False]])

    def total(logprobs):
        return importance_ratio(logprobs, jnp.array([[-1.0, garbage]]), mask).sum()

    value, gradient = jax.value_and_grad(total)(jnp.array([[-1.0, garbage]]))
    assert value == 2.0
    np.testing.assert_array_equal(gradient, [[1.0, 0.0]])
