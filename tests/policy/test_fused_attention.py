"""The fused kernels against the plain attention: values and gradients, with grouped heads and odd lengths."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from grpo_jax.config import MeshConfig
from grpo_jax.policy import causal
from grpo_jax.policy.attention import Scoring
from grpo_jax.policy.fused_attention import KERNELS, _on_each_device, cudnn, fused_causal, splash
from grpo_jax.sharding import make_mesh


def arrays(rows=2, length=200, heads=4, kv_heads=2, size=128):
    keys = jax.random.split(jax.random.key(0), 4)
    shapes = [(rows, length, n, size) for n in (heads, kv_heads, kv_heads, heads)]
    return [jax.random.normal(key, shape) for key, shape in zip(keys, shapes, strict=True)]


SCORING = Scoring(scale=0.07, cap=0.0, window=None)


def interpreted(q, k, v, scale):
    return splash(q, k, v, scale, block=128, interpret=True)


def on_one(kernel):
    return lambda q, k, v, scoring: kernel(q, k, v, scoring.scale)


def both(attend, length=200):
    """The outputs, and the gradients of one weighting of them."""
    q, k, v, weights = arrays(length=length)
    seen = attend(q, k, v, SCORING)
    return seen, *jax.grad(lambda *qkv: (attend(*qkv, SCORING) * weights).sum(), argnums=(0, 1, 2))(q, k, v)


@pytest.mark.parametrize(
    "attend", [on_one(interpreted), _on_each_device(interpreted, make_mesh(MeshConfig(2, 1, 2), jax.devices()[:4]))]
)
def test_splash_is_causal_attention(attend):
    for found, expected in zip(both(attend), both(causal), strict=True):
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, atol=3e-5)


@pytest.mark.parametrize("length", [200, 199])
def test_cudnn_gets_the_same_problem(length, monkeypatch):
    """There is no GPU here: the same call, as XLA computes it. JAX refuses odd lengths for GPUs."""
    plain = jax.nn.dot_product_attention

    def as_xla(*arguments, implementation, **options):
        assert implementation == "cudnn"
        assert [x.shape[1] % 2 for x in arguments] == [0, 0, 0]
        return plain(*arguments, implementation="xla", **options)

    monkeypatch.setattr(jax.nn, "dot_product_attention", as_xla)
    for found, expected in zip(both(on_one(cudnn), length), both(causal, length), strict=True):
        np.testing.assert_allclose(found, expected, atol=3e-5)


def test_where_there_is_no_kernel_it_is_plain():
    assert "cpu" not in KERNELS
    assert fused_causal(None) is causal
    assert fused_causal(make_mesh(MeshConfig(-1, 1, 1))) is causal


@pytest.mark.parametrize(("rows", "kv_heads"), [(3, 2), (2, 1)])
def test_what_cannot_be_cut_is_refused(rows, kv_heads):
    attend = _on_each_device(interpreted, make_mesh(MeshConfig(2, 1, 2), jax.devices()[:4]))
    q, k, v, _ = arrays(rows=rows, kv_heads=kv_heads)
    with pytest.raises(ValueError, match=f"{rows} rows and {kv_heads} key-value heads"):
        jnp.asarray(attend(q, k, v, SCORING))
