"""Estimators of KL: values and expected gradients on a policy small enough to enumerate."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from grpo_jax.objectives import KL_ESTIMATORS, k3

LOGITS = jnp.array([0.3, -1.0, 0.8, 0.1])
REFERENCE = jax.nn.log_softmax(jnp.array([-0.4, 0.5, 0.2, 0.0]))


def reverse_kl(logits):
    logprobs = jax.nn.log_softmax(logits)
    return (jnp.exp(logprobs) * (logprobs - REFERENCE)).sum()


def forward_kl(logits):
    return (jnp.exp(REFERENCE) * (REFERENCE - jax.nn.log_softmax(logits))).sum()


def expected_gradient(name):
    """Return the gradient of the estimator as a loss. Tokens are drawn from the policy, and draws have no gradient."""
    drawn = jax.nn.softmax(LOGITS)
    return jax.grad(lambda logits: (drawn * KL_ESTIMATORS[name](jax.nn.log_softmax(logits), REFERENCE)).sum())(LOGITS)


@pytest.mark.parametrize("name", ["k1", "k3"])
def test_k1_and_k3_are_unbiased(name):
    estimate = (jax.nn.softmax(LOGITS) * KL_ESTIMATORS[name](jax.nn.log_softmax(LOGITS), REFERENCE)).sum()
    assert float(estimate) == pytest.approx(float(reverse_kl(LOGITS)), rel=1e-5)


@pytest.mark.trap(27)
def test_expected_gradients():
    np.testing.assert_allclose(expected_gradient("k1"), 0.0, atol=1e-7)
    np.testing.assert_allclose(expected_gradient("k2"), jax.grad(reverse_kl)(LOGITS), atol=1e-6)
    np.testing.assert_allclose(expected_gradient("k3"), jax.grad(forward_kl)(LOGITS), atol=1e-6)


@pytest.mark.trap(28)
def test_k3_is_finite_far_away():
    assert np.isfinite(k3(jnp.array([-900.0, 0.0]), jnp.array([0.0, -900.0]))).all()


def test_k3_is_exact_near_zero():
    difference = np.array([1e-7, -1e-5, 1e-3, -0.019, 0.021], np.float64)
    expected = np.expm1(difference) - difference
    expected[:2] = difference[:2] ** 2 / 2  # float64 cancels too
    np.testing.assert_allclose(k3(jnp.zeros(5), jnp.array(difference, jnp.float32)), expected, rtol=1e-3)
