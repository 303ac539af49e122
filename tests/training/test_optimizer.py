"""Schedules by optimizer step, weight decay where it belongs, and the clip."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from grpo_jax.training.optimizer import apply_gradients, decay_mask, make_optimizer, make_schedule
from grpo_jax.types import TrainState
from tests.helpers import make_config
from tests.policy.test_policy import make

SETTINGS = make_config().optimizer


def settings(**changes):
    return dataclasses.replace(SETTINGS, learning_rate=0.1, warmup_updates=4, **changes)


def test_warmup_is_linear_and_starts_above_zero():
    schedule = make_schedule(settings(), 100)
    np.testing.assert_allclose([schedule(step) for step in range(6)], [0.025, 0.05, 0.075, 0.1, 0.1, 0.1], rtol=1e-6)


def test_cosine_ends_at_zero():
    schedule = make_schedule(settings(schedule="cosine"), 100)
    assert schedule(4) == pytest.approx(0.1)
    assert schedule(52) == pytest.approx(0.05, rel=1e-3)
    assert schedule(100) == pytest.approx(0.0, abs=1e-9)


def test_no_warmup():
    schedule = make_schedule(dataclasses.replace(settings(), warmup_updates=0), 10)
    np.testing.assert_allclose([schedule(step) for step in range(3)], 0.1, rtol=1e-6)


@pytest.mark.trap(35)
def test_weight_decay_leaves_norms_and_biases_out():
    params = make(qkv_bias=True, tied_head=False).init(jax.random.key(0))
    flat = jax.tree_util.tree_leaves_with_path(decay_mask(params))
    assert {path[-1].key for path, decayed in flat if decayed} == {"kernel", "embedding"}
    assert {path[-1].key for path, decayed in flat if not decayed} == {"scale", "bias"}

    config = dataclasses.replace(settings(weight_decay=0.5), warmup_updates=0)
    tx = make_optimizer(config, make_schedule(config, 10))
    nothing = jax.tree.map(jnp.zeros_like, params)
    changes, _ = tx.update(nothing, tx.init(params), params)
    expected = jax.tree.map(lambda leaf, decayed: -0.1 * 0.5 * leaf * decayed, params, decay_mask(params))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-7), changes, expected)


@pytest.mark.trap(14)
def test_the_global_norm_is_clipped_before_adam():
    config = dataclasses.replace(settings(clip_norm=1.0), warmup_updates=0)
    tx = make_optimizer(config, make_schedule(config, 10))
    params = {"kernel": jnp.zeros(2), "scale": jnp.zeros(1)}
    gradients = {"kernel": jnp.array([30.0, 0.0]), "scale": jnp.array([40.0])}
    _, state = tx.update(gradients, tx.init(params), params)
    first_moment = optax.tree.get(state, "mu")
    np.testing.assert_allclose(first_moment["kernel"], [0.1 * 0.6, 0.0], rtol=1e-5)
    np.testing.assert_allclose(first_moment["scale"], [0.1 * 0.8], rtol=1e-5)


@pytest.mark.trap(35)
def test_moments_are_float32():
    params = make().init(jax.random.key(0))
    state = make_optimizer(SETTINGS, make_schedule(SETTINGS, 10)).init(params)
    floating = [leaf.dtype for leaf in jax.tree.leaves(state) if jnp.issubdtype(leaf.dtype, jnp.floating)]
    assert set(floating) == {jnp.dtype("float32")}
    assert optax.tree.get(state, "mu") is not None


@pytest.mark.trap(35)
def test_a_step_of_a_millionth_is_not_lost():
    """bfloat16 has no number between 1 and 0.996."""
    config = dataclasses.replace(SETTINGS, learning_rate=1e-6, warmup_updates=0)
    tx = make_optimizer(config, make_schedule(config, 10))
    params = {"kernel": jnp.ones(3)}
    state = TrainState(params, tx.init(params), jnp.int32(0), jnp.int32(0))
    for _ in range(5):
        state = apply_gradients(tx, state, {"kernel": jnp.ones(3)}, jnp.float32(1.0))
    np.testing.assert_allclose(1 - state.params["kernel"], 5e-6, rtol=0.1)
