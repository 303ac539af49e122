"""Sketches keep inner products: without bias, and with the error that is said."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from grpo_jax.analysis.sketch import flat, sketch

SHAPES = {"a": (7, 31), "b": (3,), "c": (40, 50), "d": ()}


def tree(seed):
    rng = np.random.default_rng(seed)
    return {name: jnp.asarray(rng.normal(size=shape), jnp.float32) for name, shape in SHAPES.items()}


def test_it_is_linear():
    one, other = tree(0), tree(1)
    both = jax.tree.map(lambda a, b: 2 * a - b, one, other)
    np.testing.assert_allclose(sketch(both, 64), 2 * sketch(one, 64) - sketch(other, 64), atol=1e-4)


@pytest.mark.parametrize("size", [64, 256])
def test_inner_products_have_no_bias_and_the_stated_error(size):
    """Over many pairs of vectors, since the signs are fixed. Also where the energy is in entries that stand in line."""
    pairs = [(tree(2 * seed), tree(2 * seed + 1)) for seed in range(100)]
    comb = jnp.zeros((40, 50)).at[:, 3].set(1.0)
    pairs += [(jax.tree.map(jnp.add, one, {**tree(0), "c": comb * 5}), other) for one, other in pairs]
    errors, scale = [], []
    shorten = jax.jit(lambda x: (flat(x), sketch(x, size)))
    for one, other in pairs:
        (a, short_a), (b, short_b) = shorten(one), shorten(other)
        errors.append(float(short_a @ short_b - a @ b))
        scale.append(float(((a @ a) * (b @ b) + (a @ b) ** 2) / size) ** 0.5)
    relative = np.array(errors) / np.array(scale)
    assert abs(relative.mean()) < 4 / len(pairs) ** 0.5
    assert 0.8 < relative.std() < 1.2


def test_lengths_of_sketches():
    """A vector's own length, which collisions of equal signs would stretch."""
    ratios = [float((sketch(tree(seed), 128) ** 2).sum() / (flat(tree(seed)) ** 2).sum()) for seed in range(60)]
    assert np.mean(ratios) == pytest.approx(1, abs=4 * np.std(ratios) / 60**0.5)
    assert np.std(ratios) == pytest.approx((2 / 128) ** 0.5, rel=0.3)


def test_leaves_do_not_share_signs():
    """The same values in two leaves are not the same in the sketch."""
    values = jnp.arange(1.0, 33.0)
    first = sketch({"a": values, "b": jnp.zeros(32)}, 32)
    second = sketch({"a": jnp.zeros(32), "b": values}, 32)
    assert not np.allclose(first, second)
    assert sorted(np.abs(first).tolist()) == sorted(np.abs(second).tolist()) == values.tolist()
