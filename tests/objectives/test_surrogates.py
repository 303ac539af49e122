"""Surrogates of tokens: values and gradients by hand, and what they become in a limit."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from grpo_jax.objectives.surrogates import (
    clipped,
    clipped_weight,
    dual_clipped,
    geometric_mean,
    policy_gradient,
    sequence_clipped,
    soft_gated,
)
from tests.objectives.helpers import terms_of

CLIP = {"clip_low": 0.2, "clip_high": 0.28}
OFF = {"clip_low": 1.0, "clip_high": math.inf}
EVERY = {
    "clipped": partial(clipped, **CLIP),
    "dual_clipped": partial(dual_clipped, **CLIP),
    "policy_gradient": policy_gradient,
    "clipped_weight": partial(clipped_weight, **CLIP),
    "soft_gated": soft_gated,
    "sequence_clipped": partial(sequence_clipped, **CLIP),
    "geometric_mean": partial(geometric_mean, **CLIP),
}
MASK = jnp.array([[[True, True, True, False], [True, True, False, False]]])
ADVANTAGES = jnp.array([[1.5, -0.5]])


def terms(logprobs, old, advantages=ADVANTAGES, mask=MASK):
    """Completions of three and two tokens, each weighted as the aggregation "sequence" does."""
    weights = jnp.where(mask, 1.0 / mask.sum(-1, keepdims=True), 0.0)
    logprobs = jnp.where(mask, logprobs, 0.0)
    return terms_of(logprobs, old, mask=mask, weights=weights, advantages=advantages)


def of_one(surrogate, ratios, advantage):
    """The loss of one completion with these ratios, and its gradient by the log-probabilities."""
    ratios = jnp.array(ratios, jnp.float32)[None, None]
    old = jnp.full(ratios.shape, -1.0)
    mask = jnp.ones(ratios.shape, bool)

    def loss(logprobs):
        return surrogate(terms(logprobs, old, jnp.array([[advantage]]), mask))

    value, gradient = jax.value_and_grad(loss)(old + jnp.log(ratios))
    return float(value), np.array(gradient[0, 0])


@pytest.mark.parametrize("name", EVERY)
def test_at_ratio_one_all_have_the_policy_gradient(name):
    old = jax.random.uniform(jax.random.key(0), MASK.shape, minval=-2.0, maxval=-0.1)
    found = jax.jit(jax.grad(lambda logprobs: EVERY[name](terms(logprobs, old))))(old)
    expected = -ADVANTAGES[..., None] * jnp.where(MASK, 1.0 / MASK.sum(-1, keepdims=True), 0.0)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("ratio", "advantage", "gradient"),
    [(2.0, -1.0, 2.0), (3.5, -1.0, 0.0), (0.5, -1.0, 0.0), (3.5, 1.0, 0.0), (1.2, 1.0, -1.2)],
)
def test_dual_clip_lets_go_of_bad_tokens_that_are_far_off(ratio, advantage, gradient):
    value, found = of_one(partial(dual_clipped, **CLIP, dual_clip=3.0), [ratio], advantage)
    assert found[0] == pytest.approx(gradient, abs=1e-5)
    if ratio == 3.5 and advantage < 0:
        assert value == pytest.approx(3.0)


def test_a_dual_clip_without_end_is_the_clip():
    for ratio in (0.5, 1.0, 2.0, 8.0):
        with_end = of_one(partial(dual_clipped, **CLIP, dual_clip=math.inf), [ratio], -1.0)
        np.testing.assert_allclose(with_end[1], of_one(partial(clipped, **CLIP), [ratio], -1.0)[1])


@pytest.mark.parametrize("advantage", [1.0, -1.0])
@pytest.mark.parametrize(("ratio", "weight"), [(1.1, 1.1), (2.0, 1.28), (0.5, 0.8)])
def test_cispo_clips_the_weight_and_keeps_the_gradient(ratio, weight, advantage):
    _, found = of_one(partial(clipped_weight, **CLIP), [ratio], advantage)
    assert found[0] == pytest.approx(-weight * advantage, rel=1e-6)


@pytest.mark.parametrize(("ratio", "advantage"), [(1.7, 1.0), (0.4, 1.0), (1.7, -1.0), (0.4, -1.0)])
def test_sapo_by_hand(ratio, advantage):
    """The gradient by log pi is 4 s (1 - s) rho A with s = sigmoid(tau (rho - 1))."""
    tau = 1.0 if advantage > 0 else 1.05
    gate = 1 / (1 + math.exp(-tau * (ratio - 1)))
    value, found = of_one(soft_gated, [ratio], advantage)
    assert value == pytest.approx(-4 / tau * gate * advantage, rel=1e-5)
    assert found[0] == pytest.approx(-4 * gate * (1 - gate) * ratio * advantage, rel=1e-5)


def test_gspo_by_hand():
    """s is the geometric mean, sqrt(1.5 x 0.9) = 1.162: below the bound, though one token is beyond it."""
    s = math.sqrt(1.5 * 0.9)
    value, found = of_one(partial(sequence_clipped, **CLIP), [1.5, 0.9], 2.0)
    assert value == pytest.approx(-2 * s, rel=1e-5)
    np.testing.assert_allclose(found, [-2 * s / 2] * 2, rtol=1e-5)
    assert not of_one(partial(sequence_clipped, **CLIP), [1.5, 1.3], 2.0)[1].any()
    assert of_one(partial(sequence_clipped, **CLIP), [1.5, 1.3], -2.0)[1].all()


def test_gmpo_by_hand():
    """Ratios 1.5 and 0.9, capped to 1.28 and 0.9; the first has no gradient any more."""
    mean = math.sqrt(1.28 * 0.9)
    value, found = of_one(partial(geometric_mean, **CLIP), [1.5, 0.9], 2.0)
    assert value == pytest.approx(-2 * mean, rel=1e-5)
    np.testing.assert_allclose(found, [0.0, -2 * mean / 2], rtol=1e-5)
    floored = math.sqrt(1.5 * 0.8)
    assert of_one(partial(geometric_mean, **CLIP), [1.5, 0.5], -2.0)[0] == pytest.approx(2 * floored, rel=1e-5)


def test_without_clips_gspo_and_gmpo_are_one():
    for advantage in (1.0, -1.0):
        for ratios in ([1.5, 0.4, 0.9], [3.0, 2.0]):
            gspo, gmpo = (of_one(partial(one, **OFF), ratios, advantage) for one in (sequence_clipped, geometric_mean))
            assert gspo[0] == pytest.approx(gmpo[0], rel=1e-5)
            np.testing.assert_allclose(gspo[1], gmpo[1], rtol=1e-5)


def test_for_one_token_gspo_is_grpo():
    for ratio in (0.5, 0.9, 1.1, 2.0):
        for advantage in (1.0, -1.0):
            gspo, grpo = (of_one(partial(one, **CLIP), [ratio], advantage) for one in (sequence_clipped, clipped))
            np.testing.assert_allclose(gspo[1], grpo[1], rtol=1e-5)


@pytest.mark.trap(7)
@pytest.mark.parametrize("name", EVERY)
def test_a_completion_without_tokens_gives_no_nan(name):
    empty = jnp.zeros((1, 2, 4), bool)
    nothing = jnp.full(empty.shape, jnp.nan)
    value, gradient = jax.jit(jax.value_and_grad(lambda x: EVERY[name](terms(x, nothing, mask=empty))))(nothing)
    assert value == 0
    assert not gradient.any()
