"""Weights in int8: near the float ones channel by channel, and policies that compute with what they stand for."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from grpo_jax.config import LoraConfig
from grpo_jax.policy import is_quantised, trained_of
from grpo_jax.policy.int8 import SCALE, quantise
from tests.policy.test_policy import VARIANTS, apply, make, randomised, tokens

# The axes of a kernel, from its end, over which a product with it sums.
SUMMED = {"query": (-3,), "key": (-3,), "value": (-3,), "out": (-3, -2)}
LORA = LoraConfig(rank=2, alpha=4.0, modules=("query", "out", "down"))


def dequantised(params, name=""):
    """Return the parameters that quantised ones stand for."""
    found = {key: dequantised(node, key) if isinstance(node, dict) else node for key, node in params.items()}
    if SCALE in found:
        scale = np.expand_dims(found.pop(SCALE), SUMMED.get(name, (-2,)))
        found["kernel"] = np.float32(found["kernel"]) * scale
    return found


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_no_weight_is_off_by_more_than_half_a_step_of_its_channel(dtype):
    """Each layer and output channel has a step of its own. One of zeros stays zero, and NaN does not become finite."""
    kernel = np.random.default_rng(0).normal(size=(2, 30, 4, 3)).astype(np.float32)
    kernel *= np.float32(10.0) ** np.arange(-5, 7).reshape(4, 3)
    kernel[1, :, 2, 0] = 0
    kernel = np.array(jnp.asarray(kernel, dtype), np.float32)
    found, scale = jax.device_get(quantise(jnp.asarray(kernel, dtype), [1]))
    assert (found.dtype, found.shape, scale.dtype, scale.shape) == (np.int8, kernel.shape, np.float32, (2, 4, 3))
    assert scale[1, 2, 0] == 0
    assert not found[1, :, 2, 0].any()
    step = scale[:, None]
    assert (np.abs(found * step - kernel) <= 0.5001 * step).all()
    largest = np.abs(found).max(axis=1)
    assert (largest == np.where(scale > 0, 127, 0)).all()
    kernel[0, 3, 1, 1], kernel[0, 4, 1, 2] = np.nan, np.inf
    broken = np.array(quantise(jnp.asarray(kernel), [1]).scale)
    np.testing.assert_array_equal(np.argwhere(~np.isfinite(broken)), [[0, 1, 1], [0, 1, 2]])
    np.testing.assert_array_equal(broken[1], scale[1])


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("multi_query", {}),
        ("multi_query", {"scan_layers": True, "lora": LORA}),
        ("gemma2", {"scan_layers": True}),
        ("olmo2", {"lora": LORA}),
        ("qwen3_moe", {"scan_layers": True}),
        ("qwen3_moe", {}),
        ("qwen3", {"compute_dtype": "bfloat16"}),
    ],
)
def test_logits_are_those_of_the_weights_that_it_stands_for(name, changes):
    policy, rows = make(**VARIANTS[name], **changes), tokens((2, 7))
    params = randomised(policy)
    weights = jax.device_get(jax.jit(policy.quantise)(params))
    assert is_quantised(weights)
    assert not is_quantised(params)
    shapes = jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), policy.quantised.shapes())
    assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), weights) == shapes
    kernels = {path[-2].key: leaf for path, leaf in jax.tree.leaves_with_path(weights) if path[-1].key == "kernel"}
    assert {module for module, kernel in kernels.items() if kernel.dtype != np.int8} <= {"router"}
    if policy.model.lora:  # adapters stay as they are
        jax.tree.map(np.testing.assert_array_equal, trained_of(weights), trained_of(params))
    cast = jax.device_get(jax.jit(policy.quantised.cast)(weights))
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a.dtype == np.int8, b.dtype == np.int8), cast, weights)
    found, exact = apply(policy.quantised, cast, rows), apply(policy, params, rows)
    wide = dataclasses.replace(policy, model=dataclasses.replace(policy.model, compute_dtype="float32"))
    rounding = 3e-5 if policy == wide else 0.1
    np.testing.assert_allclose(found, apply(wide, dequantised(weights), rows), atol=rounding)
    assert 1e-3 < np.abs(found - exact).max() < 1
