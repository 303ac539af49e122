"""Products of different prompts, intervals and tests."""

import itertools

import numpy as np
import pytest

from grpo_jax.analysis.bootstrap import comparisons, interval, log_ratio, mean, mean_between, p_value, resample


def test_the_first_row_is_the_sample_and_the_others_draw_as_many():
    weights = resample(7, 50, seed=0)
    assert (weights[0] == 1).all()
    assert (weights.sum(1) == 7).all()
    assert mean(weights, np.arange(7.0))[0] == 3


def test_mean_between_is_over_pairs_of_different_prompts():
    rng = np.random.default_rng(0)
    products, first, second = rng.normal(size=(5, 5)), rng.uniform(1, 2, 5), rng.uniform(1, 2, 5)
    weights = resample(5, 3, seed=1)
    for row, found in zip(weights, mean_between(weights, products, first, second), strict=True):
        pairs = list(itertools.permutations(range(5), 2))
        total = sum(row[i] * row[j] * products[i, j] for i, j in pairs)
        assert found == pytest.approx(total / sum(row[i] * row[j] * first[i] * second[j] for i, j in pairs))


def test_a_squared_mean_has_no_bias():
    """Prompts' means are mu plus noise. The plain square would be too large by the variance of their mean."""
    rng, mu = np.random.default_rng(0), np.array([0.3, -0.1])
    one = np.ones((1, 10))
    found = [mean_between(one, x @ x.T)[0] for x in rng.normal(mu, 1.0, (4000, 10, 2))]
    assert np.mean(found) == pytest.approx(mu @ mu, abs=4 * np.std(found) / 4000**0.5)
    assert 4 * np.std(found) / 4000**0.5 < 0.5 * 2 / 10  # the bias of the plain square would be seen


def test_intervals_cover():
    """The interval of the squared mean covers it at the stated level, for samples of 60 prompts."""
    rng, mu = np.random.default_rng(1), np.array([0.5, 0.2, 0.0])
    covered = 0
    for seed in range(300):
        x = rng.normal(mu, 1.0, (60, 3))
        _, low, high = interval(mean_between(resample(60, 400, seed), x @ x.T))
        covered += low <= mu @ mu <= high
    assert 0.88 < covered / 300 < 0.99


def test_what_is_not_a_number_widens_the_interval():
    values = np.array([1.0, *np.linspace(0.5, 1.5, 100)])
    assert interval(values).low == pytest.approx(0.52, abs=0.02)
    values[1:20] = np.nan
    assert interval(values).low == -np.inf
    assert interval(values).high == np.inf
    assert np.isnan(log_ratio(np.array([1.0, -1.0]), np.array([1.0, 2.0]))).tolist() == [False, True]


def test_p_is_the_share_on_the_other_side():
    assert p_value(np.array([1.0, *[1.0] * 97, *[-1.0] * 2])) == pytest.approx(2 * 3 / 100)
    assert p_value(np.zeros(100)) == 1
    assert p_value(np.full(100, np.nan)) == 1


def test_what_is_resolved_holds_for_the_whole_table():
    """A p of .03 is resolved alone, but not beside others like it."""
    rng = np.random.default_rng(0)
    shifted = np.concatenate([[2.17], rng.normal(2.17, 1.0, 20_000)])
    far = np.concatenate([[9.0], rng.normal(9.0, 1.0, 20_000)])
    assert comparisons({"a": shifted})["a"].resolved
    table = comparisons({"a": shifted, "b": shifted, "c": far})
    assert [table[name].resolved for name in "abc"] == [False, False, True]
    assert table["a"].low > 0  # its own interval says otherwise
    assert comparisons({}) == {}
