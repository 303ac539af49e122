"""Sketches preserve inner products without bias, and with the stated error."""

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
    """Averaged over many pairs of vectors, since the signs are fixed."""
    ones, others = (jax.tree.map(lambda *of: jnp.stack(of), *map(tree, range(first, 200, 2))) for first in (0, 1))
    relative = jax.vmap(lambda one, other: error(one, other, size))(ones, others)
    assert abs(relative.mean()) < 4 / 100**0.5
    assert 0.8 < relative.std() < 1.2


def test_also_of_entries_of_one_sign_that_stand_in_line():
    """The columns of a matrix as wide as the sketch: without signs and rotations, the error would be larger."""
    columns = {"matrix": jnp.eye(64)[:, None, :] * jnp.ones((64, 400, 64))}
    relative = jax.vmap(lambda one: error(one, one, 64))(columns)
    assert abs(relative.mean()) < 4 / 64**0.5
    assert 0.75 < relative.std() < 1.25


def error(one, other, size):
    """Return the error of an inner product in multiples of the stated one."""
    a, b = flat(one), flat(other)
    stated = jnp.sqrt(((a @ a) * (b @ b) + (a @ b) ** 2) / size)
    return (sketch(one, size) @ sketch(other, size) - a @ b) / stated


def test_leaves_do_not_share_signs():
    """Equal values in two leaves have different signs and buckets."""
    values = jnp.arange(1.0, 33.0)
    first = sketch({"a": values, "b": jnp.zeros(32)}, 32)
    second = sketch({"a": jnp.zeros(32), "b": values}, 32)
    assert not np.allclose(first, second)
    assert sorted(np.abs(first).tolist()) == sorted(np.abs(second).tolist()) == values.tolist()
