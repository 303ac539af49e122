"""Proposition 5.1: group sizes as weightings of prompts."""

import math

import numpy as np
import pytest

from grpo_jax.analysis.products import combine, within
from grpo_jax.analysis.subgroups import Subgroups, moments, orders
from grpo_jax.analysis.weighting import factor, predicted, weightings
from grpo_jax.objectives.advantages import contrastive
from tests.analysis import bandit

SIZES = (2, 4, 8, 16)


def w(size, p):
    return sum(
        math.comb(size, k) * p**k * (1 - p) ** (size - k) * math.sqrt(k / size * (1 - k / size))
        for k in range(size + 1)
    )


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("p", [0.05, 0.412, 0.9])
def test_the_factor_has_no_bias(size, p):
    """Its expectation over Bin(16, p) is w_G(p) / (p(1-p)), exactly."""
    chances = [math.comb(16, x) * p**x * (1 - p) ** (16 - x) for x in range(17)]
    assert np.array(chances) @ factor(size, 16) == pytest.approx(w(size, p) / (p * (1 - p)), rel=1e-9)


def test_of_pairs_it_is_one():
    np.testing.assert_allclose(factor(2, 16), 1.0)


@pytest.mark.parametrize("size", SIZES)
def test_the_prediction_is_the_expected_gradient(size):
    """For one prompt, drawn many times, it is w_G(p) times the contrast, within four standard errors."""
    prompts = 2000
    sampled, vectors = bandit.draw(np.repeat(bandit.ONE, prompts, 0), 32)
    found = combine(vectors, predicted(size, orders(prompts, 32, 2, 0), sampled.right))
    right, wrong = (arm[0] for arm in bandit.mean_arms(bandit.ONE))
    expected = w(size, float(bandit.success(bandit.ONE)[0])) * (right - wrong)
    error = found.std(0) / prompts**0.5
    assert (np.abs(found.mean(0) - expected) < 4 * error).all()
    assert (error < 0.05 * np.abs(expected).max()).all()


def test_lengths_and_cosines_over_prompts_that_differ():
    logits = bandit.many(1500, spread=1.5)
    sampled, vectors = bandit.draw(logits, 32)
    order = orders(1500, 32, 2, 0)
    of_sizes = [moments(contrastive, Subgroups(order, size, within(vectors)), sampled) for size in SIZES]
    found = weightings(of_sizes, order, sampled.right, vectors, np.ones((1, 1500)))
    right, wrong = bandit.mean_arms(logits)
    p = bandit.success(logits)
    means = {size: (np.array([w(size, x) for x in p])[:, None] * (right - wrong)).mean(0) for size in SIZES}
    for one in found:
        mean, pairs = means[one.size], means[2]
        length = np.linalg.norm(mean) / np.linalg.norm(pairs)
        assert one.measured[0] == pytest.approx(length, rel=0.05)
        assert one.predicted[0] == pytest.approx(length, rel=0.05)
        assert one.agreement[0] == pytest.approx(1, abs=0.05)
        assert one.cosine[0] == pytest.approx(mean @ pairs / np.linalg.norm(mean) / np.linalg.norm(pairs), abs=0.01)


@pytest.mark.parametrize("p", [0.1, 0.412, 0.8])
def test_the_prediction_has_no_bias_however_few_rollouts(p):
    """The mean over all outcomes of four rollouts, with vectors of 1 for right and 0 for wrong, is exactly w_4(p)."""
    outcomes = np.array([[bool(number >> place & 1) for place in range(4)] for number in range(16)])
    chances = np.where(outcomes, p, 1 - p).prod(1)
    found = (predicted(4, orders(16, 4, 1, 0), outcomes) * outcomes).sum(1)
    assert chances @ found == pytest.approx(w(4, p), rel=1e-6)
