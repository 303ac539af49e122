"""Low-rank adapters: nothing at first, the gradient of the merged kernel's factors, and the same logits when merged."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from grpo_jax.config import LoraConfig
from grpo_jax.policy import trained_of, with_trained
from grpo_jax.policy.lora import ADAPTERS
from tests.policy.test_policy import make

LORA = LoraConfig(rank=3, alpha=6.0, modules=("query", "key", "value", "out", "gate", "up", "down"))
TOKENS = jnp.asarray(np.random.default_rng(0).integers(0, 13, (2, 7)), jnp.int32)


def started(**changes):
    """A policy with adapters, fresh."""
    policy = make(lora=LORA, **changes)
    return policy, policy.init(jax.random.key(0))


def learned(**changes):
    """The same after some learning: no B is zero any more."""
    policy, params = started(**changes)
    leaves, tree = jax.tree.flatten(trained_of(params))
    keys = jax.random.split(jax.random.key(1), len(leaves))
    moved = [leaf + 0.1 * jax.random.normal(key, leaf.shape) for leaf, key in zip(leaves, keys, strict=True)]
    return policy, with_trained(params, jax.tree.unflatten(tree, moved))


def without_adapters(params):
    return {
        name: without_adapters(node) if isinstance(node, dict) else node
        for name, node in params.items()
        if name not in ADAPTERS
    }


def leaf_names(tree):
    return {path[-1].key for path, _ in jax.tree.leaves_with_path(tree)}


@pytest.mark.parametrize("scan_layers", [False, True])
def test_at_first_the_adapted_policy_is_the_base_policy(scan_layers):
    """The same key gives the same kernels, and the adapters add nothing: one factor is zero."""
    policy, params = started(scan_layers=scan_layers)
    base = without_adapters(params)
    jax.tree.map(np.testing.assert_array_equal, base, policy.base.init(jax.random.key(0)))
    # Two programs, which a compiler may round apart: float32's last digits.
    adapted, plain = jax.jit(policy.apply)(params, TOKENS), jax.jit(policy.base.apply)(base, TOKENS)
    np.testing.assert_allclose(adapted, plain, rtol=0, atol=1e-5)
    for path, leaf in jax.tree.leaves_with_path(trained_of(params)):
        if path[-1].key == "lora_b":
            assert not leaf.any()
        else:
            fan_in = np.prod(leaf.shape[scan_layers:-1])
            assert np.std(leaf) * np.sqrt(fan_in) == pytest.approx(1.0, abs=0.4)


@pytest.mark.trap(35)
def test_adapters_are_float32_whatever_is_computed_in():
    policy, params = started(compute_dtype="bfloat16")
    assert {leaf.dtype for leaf in jax.tree.leaves(trained_of(params))} == {jnp.dtype("float32")}
    assert {leaf.dtype for leaf in jax.tree.leaves(trained_of(policy.cast(params)))} == {jnp.dtype("bfloat16")}


@pytest.mark.parametrize("changes", [{}, {"scan_layers": True}, {"qkv_bias": True, "num_kv_heads": 1}])
def test_merged_kernels_give_the_same_logits(changes):
    policy, params = learned(**changes)
    merged = policy.merge(params)
    assert jax.tree.structure(merged) == jax.tree.structure(policy.base.shapes())
    expected = jax.jit(policy.apply)(params, TOKENS)
    np.testing.assert_allclose(jax.jit(policy.base.apply)(merged, TOKENS), expected, atol=1e-4)
    without = jax.jit(policy.base.apply)(without_adapters(params), TOKENS)
    assert np.abs(without - expected).max() > 0.1


@pytest.mark.parametrize("scan_layers", [False, True])
def test_the_gradient_is_that_of_the_merged_kernels_factors(scan_layers):
    """Against autodiff through W + s A B: dA = s (dW) B^T, dB = s A^T (dW); and nothing else has a gradient."""
    policy, params = learned(scan_layers=scan_layers)
    trained = trained_of(params)

    def loss(policy, params):
        return (jax.nn.log_softmax(policy.apply(params, TOKENS)) ** 2).mean()

    found = jax.jit(jax.grad(lambda trained: loss(policy, with_trained(params, trained))))(trained)
    dense = jax.jit(jax.grad(lambda merged: loss(policy.base, merged)))(policy.merge(params))

    def compare(found, dense, adapters):
        if "lora_a" not in adapters:
            for name in adapters:
                compare(found[name], dense[name], adapters[name])
            return
        a, b, change = adapters["lora_a"], adapters["lora_b"], dense["kernel"]
        if not scan_layers:
            a, b, change = a[None], b[None], change[None]
        layers, rank = len(a), LORA.rank
        a, b = a.reshape(layers, -1, rank), b.reshape(layers, rank, -1)
        change = change.reshape(layers, a.shape[1], b.shape[2])
        of_a = LORA.scale * np.einsum("lio,lro->lir", change, b)
        of_b = LORA.scale * np.einsum("lir,lio->lro", a, change)
        np.testing.assert_allclose(found["lora_a"].reshape(of_a.shape), of_a, rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(found["lora_b"].reshape(of_b.shape), of_b, rtol=1e-3, atol=1e-5)
        assert np.abs(of_a).max() > 1e-4

    compare(found, dense, trained)


@pytest.mark.parametrize("scan_layers", [False, True])
def test_other_adapters_change_each_kernel_by_a_share_of_its_size(scan_layers):
    """Whatever B was: the server of a run that begins and of one that goes on are tried by adapters alike."""
    policy, params = started(scan_layers=scan_layers)
    other = policy.with_other_adapters(params, 0.1)
    again = policy.with_other_adapters(
        with_trained(params, jax.tree.map(lambda b: b + 1, _only(params, "lora_b"))), 0.1
    )
    jax.tree.map(np.testing.assert_array_equal, other, again)
    base, merged = without_adapters(params), policy.merge(other)
    for path, before in jax.tree.leaves_with_path(base):
        after = merged
        for key in path:
            after = after[key.key]
        if path[-1].key != "kernel" or len(path) < 4:
            np.testing.assert_array_equal(after, before)
            continue
        of_layers = (after, before) if scan_layers else (after[None], before[None])
        for one, earlier in zip(*of_layers, strict=True):
            assert np.linalg.norm(one - earlier) == pytest.approx(0.1 * np.linalg.norm(earlier), rel=1e-3)


def _only(tree, name):
    """The leaves of this name, in branches of the tree that lead to them."""
    inner = {key: _only(node, name) for key, node in tree.items() if isinstance(node, dict)}
    return {key: node for key, node in inner.items() if node} | {key: tree[key] for key in (name,) if key in tree}


def test_what_is_trained_is_taken_out_and_put_back():
    policy, params = started()
    _, moved = learned()
    trained, base = trained_of(moved), without_adapters(params)
    assert leaf_names(trained) == {"lora_a", "lora_b"}
    assert leaf_names(base) == {"kernel", "embedding", "scale"}
    for tree in (params, base):  # in place of other adapters, and where there are none yet
        put_back = with_trained(tree, trained)
        assert jax.tree.structure(put_back) == jax.tree.structure(moved)
        for part, expected in ((trained_of(put_back), trained), (without_adapters(put_back), base)):
            pairs = zip(jax.tree.leaves(part), jax.tree.leaves(expected), strict=True)
            assert all(one is other for one, other in pairs)  # not copies
    assert trained_of(base) is base
    assert policy.base.merge(base) is base


def test_only_the_named_modules_have_adapters():
    policy = make(lora=dataclasses.replace(LORA, modules=("query", "down")))
    layer = trained_of(policy.shapes())["layers"]["0"]
    assert {name: set(part) for name, part in layer.items()} == {"attention": {"query"}, "mlp": {"down"}}
    assert layer["attention"]["query"]["lora_a"].shape == (16, 3)
    assert layer["attention"]["query"]["lora_b"].shape == (3, 4, 8)
    axes = policy.logical_axes()["layers"]["0"]["attention"]["query"]
    assert (axes["lora_a"], axes["lora_b"]) == (("embed", "rank"), ("rank", "heads", "head_dim"))
