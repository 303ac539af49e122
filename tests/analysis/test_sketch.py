"""Sketches preserve inner products without bias, and with the stated error."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from grpo_jax.analysis.sketch import flat, sketches

SHAPES = {"a": (7, 31), "b": (3,), "c": (40, 50), "d": ()}


def tree(seed):
    rng = np.random.default_rng(seed)
    return {name: jnp.asarray(rng.normal(size=shape), jnp.float32) for name, shape in SHAPES.items()}


def stacked(*trees):
    return jax.tree.map(lambda *of: jnp.stack(of), *trees)


def test_it_is_linear():
    one, other = tree(0), tree(1)
    both = jax.tree.map(lambda a, b: 2 * a - b, one, other)
    of_both, of_one, of_other = sketches(stacked(both, one, other), 64)
    np.testing.assert_allclose(of_both, 2 * of_one - of_other, atol=1e-4)


@pytest.mark.parametrize("size", [64, 256])
def test_inner_products_have_no_bias_and_the_stated_error(size):
    """Averaged over many pairs of vectors, since the signs are fixed."""
    relative = errors(*(stacked(*map(tree, range(first, 200, 2))) for first in (0, 1)), size)
    assert abs(relative.mean()) < 4 / 100**0.5
    assert 0.8 < relative.std() < 1.2


def test_also_of_entries_of_one_sign_that_stand_in_line():
    """The columns of a matrix as wide as the sketch: without signs and rotations, the error would be larger."""
    columns = {"matrix": jnp.eye(64)[:, None, :] * jnp.ones((64, 400, 64))}
    relative = errors(columns, columns, 64)
    assert abs(relative.mean()) < 4 / 64**0.5
    assert 0.75 < relative.std() < 1.25


def errors(ones, others, size):
    """Return the errors of inner products in multiples of the stated one."""
    a, b = jax.vmap(flat)(ones), jax.vmap(flat)(others)
    product = (a * b).sum(1)
    stated = jnp.sqrt(((a * a).sum(1) * (b * b).sum(1) + product**2) / size)
    return ((sketches(ones, size) * sketches(others, size)).sum(1) - product) / stated


def test_leaves_do_not_share_signs():
    """Equal values in two leaves have different signs and buckets."""
    values = jnp.arange(1.0, 33.0)
    first, second = sketches({"a": jnp.stack([values, 0 * values]), "b": jnp.stack([0 * values, values])}, 32)
    assert not np.allclose(first, second)
    assert sorted(np.abs(first).tolist()) == sorted(np.abs(second).tolist()) == values.tolist()
