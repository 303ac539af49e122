"""mean@k, pass@k, maj@k and intervals."""

from math import comb

import numpy as np
import pytest

from grpo_jax.evaluation import bootstrap_interval, majority_correct, pass_at_k


@pytest.mark.trap(40)
def test_pass_at_k_is_the_unbiased_estimator():
    for n in (1, 2, 4, 9, 32):
        for c in range(n + 1):
            for k in range(1, n + 1):
                expected = 1 - comb(n - c, k) / comb(n, k)
                assert pass_at_k(np.array([c]), n, k)[0] == pytest.approx(expected, abs=1e-12)
    assert pass_at_k(np.array([1]), 4, 4)[0] == 1.0  # drawing with replacement would say .684


@pytest.mark.trap(40)
def test_pass_at_k_is_right_on_average():
    rng = np.random.default_rng(0)
    p, n, k = 0.2, 10, 4
    estimates = pass_at_k(rng.binomial(n, p, size=200_000), n, k)
    assert estimates.mean() == pytest.approx(1 - (1 - p) ** k, abs=0.003)


@pytest.mark.parametrize("k", [0, 5])
def test_pass_at_k_refuses_other_k(k):
    with pytest.raises(ValueError, match=f"k={k}: must be between 1 and the 4 samples"):
        pass_at_k(np.array([1]), 4, k)


@pytest.mark.parametrize(
    ("answers", "correct", "expected"),
    [
        (["6", "6", "7"], [True, True, False], 1.0),
        (["6", "7", "7"], [True, False, False], 0.0),
        (["6", "7"], [True, False], 0.5),  # a tie
        (["6", None, None, None], [True, False, False, False], 1.0),  # no answer has no vote
        ([None, None], [False, False], 0.0),
    ],
)
def test_majority(answers, correct, expected):
    assert majority_correct(answers, correct) == expected


def test_bootstrap_covers_the_mean_as_often_as_it_says():
    rng = np.random.default_rng(1)
    hits = 0
    for seed in range(300):
        values = rng.binomial(8, 0.3, size=200) / 8
        low, high = bootstrap_interval(values, resamples=400, seed=seed)
        hits += low <= 0.3 <= high
    assert 0.91 < hits / 300 < 0.985


def test_bootstrap_of_equal_values_is_a_point():
    assert bootstrap_interval(np.ones(10), 100, seed=0) == (1.0, 1.0)
