"""Temperature and filters, on distributions small enough to do by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from grpo_jax.config import SamplingConfig
from grpo_jax.sampling.filters import filtered

PROBABILITIES = np.array([0.05, 0.4, 0.15, 0.3, 0.1])
LOGITS = jnp.log(jnp.array(PROBABILITIES))[None]


def kept(temperature=1.0, top_k=0, top_p=1.0, min_p=0.0, logits=LOGITS):
    """The distribution that is sampled from, as probabilities."""
    return np.array(jax.nn.softmax(filtered(logits, SamplingConfig(temperature, top_k, top_p, min_p))))[0]


def only(*tokens):
    mask = np.isin(np.arange(5), tokens)
    return np.where(mask, PROBABILITIES, 0) / PROBABILITIES[mask].sum()


def test_no_filter_is_the_softmax():
    np.testing.assert_allclose(kept(), PROBABILITIES, rtol=1e-5)


def test_temperature():
    np.testing.assert_allclose(kept(temperature=0.5), PROBABILITIES**2 / (PROBABILITIES**2).sum(), rtol=1e-5)


@pytest.mark.parametrize(("k", "tokens"), [(1, [1]), (2, [1, 3]), (5, range(5)), (99, range(5))])
def test_top_k(k, tokens):
    np.testing.assert_allclose(kept(top_k=k), only(*tokens), rtol=1e-5)


def test_top_k_keeps_ties():
    np.testing.assert_allclose(kept(top_k=1, logits=jnp.zeros((1, 5))), np.full(5, 0.2), rtol=1e-6)


@pytest.mark.parametrize(
    ("p", "tokens"), [(0.01, [1]), (0.39, [1]), (0.41, [1, 3]), (0.69, [1, 3]), (0.71, [1, 3, 2]), (0.999, range(5))]
)
def test_top_p_keeps_the_smallest_set_that_reaches_p(p, tokens):
    np.testing.assert_allclose(kept(top_p=p), only(*tokens), rtol=1e-5)


@pytest.mark.parametrize(("p", "tokens"), [(0.9, [1]), (0.7, [1, 3]), (0.3, [1, 3, 2]), (0.1, range(5))])
def test_min_p_is_relative_to_the_likeliest(p, tokens):
    np.testing.assert_allclose(kept(min_p=p), only(*tokens), rtol=1e-5)


@pytest.mark.trap(22)
def test_filters_come_after_the_temperature():
    """At temperature 1/2 the likeliest two hold .82 of the mass, so top-p .8 keeps two; before it they hold .7."""
    squared = PROBABILITIES**2 / (PROBABILITIES**2).sum()
    assert squared[[1, 3]].sum() > 0.8 > squared[1]
    expected = np.where(np.isin(np.arange(5), [1, 3]), squared, 0) / squared[[1, 3]].sum()
    np.testing.assert_allclose(kept(temperature=0.5, top_p=0.8), expected, rtol=1e-5)


def test_filters_compose_one_after_the_other():
    """Top-k leaves three tokens (.4, .3, .15 of .85). The first two hold .82 and reach a top-p of .8."""
    np.testing.assert_allclose(kept(top_k=3, top_p=0.8), only(1, 3), rtol=1e-5)


@pytest.mark.trap(21)
def test_the_ratio_of_a_cut_vocabulary_is_the_mass_that_was_kept():
    np.testing.assert_allclose(PROBABILITIES[[1, 3]] / kept(top_p=0.69)[[1, 3]], 0.7, rtol=1e-5)


@pytest.mark.parametrize("settings", [{"top_k": 3}, {"top_p": 0.5}, {"min_p": 0.2}])
def test_filters_work_row_by_row(settings):
    logits = jax.random.normal(jax.random.key(0), (2, 3, 17))
    together = filtered(logits, SamplingConfig(1.0, **({"top_k": 0, "top_p": 1.0, "min_p": 0.0} | settings)))
    for i in range(2):
        for j in range(3):
            np.testing.assert_allclose(
                jax.nn.softmax(together[i, j]), kept(**settings, logits=logits[i, j][None]), rtol=1e-5
            )
