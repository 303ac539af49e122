"""Masks by lengths, and log-probabilities in float32."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from grpo_jax.objectives import length_mask, token_logprobs


@pytest.mark.trap(1)
@pytest.mark.trap(2)
def test_mask_covers_the_stop_token_and_nothing_behind_it():
    mask = length_mask(jnp.array([[0, 1, 3]]), 4)
    expected = [[[False] * 4, [True, False, False, False], [True, True, True, False]]]
    np.testing.assert_array_equal(mask, expected)


def test_token_logprobs_is_log_softmax_at_the_token():
    logits = jax.random.normal(jax.random.key(0), (3, 5, 11))
    tokens = jax.random.randint(jax.random.key(1), (3, 5), 0, 11)
    expected = jnp.take_along_axis(jax.nn.log_softmax(logits), tokens[..., None], -1)[..., 0]
    np.testing.assert_allclose(token_logprobs(logits, tokens), expected, atol=1e-6)


@pytest.mark.trap(19)
def test_temperature_divides_the_logits():
    logits = jax.random.normal(jax.random.key(0), (4, 7))
    tokens = jnp.array([0, 3, 6, 2])
    np.testing.assert_allclose(token_logprobs(logits, tokens, 0.5), token_logprobs(2.0 * logits, tokens), rtol=1e-6)


@pytest.mark.trap(29)
def test_the_softmax_of_bfloat16_logits_is_in_float32():
    """One token among 150,000 equals: in bfloat16 the sum would stop growing long before it is there."""
    logits = jnp.zeros((1, 150_000), jnp.bfloat16)
    assert float(token_logprobs(logits, jnp.array([5]))[0]) == pytest.approx(-np.log(150_000), rel=1e-6)


def test_large_logits_do_not_overflow():
    logits = jnp.array([[1e4, 1e4 - 1.0, -1e4]])
    assert float(token_logprobs(logits, jnp.array([0]))[0]) == pytest.approx(-np.log1p(np.exp(-1.0)), rel=1e-5)
