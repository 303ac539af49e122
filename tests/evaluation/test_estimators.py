"""mean@k, pass@k, maj@k and intervals."""

from fractions import Fraction
from math import comb

import numpy as np
import pytest

from grpo_jax.evaluation import best_of_k_with_replacement, bootstrap_interval, majority_correct, pass_at_k


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


@pytest.mark.trap(40)
def test_best_of_k_with_replacement_is_another_number_than_pass_at_k():
    best = best_of_k_with_replacement(np.array([0, 1, 2, 4]), 4, 4)
    np.testing.assert_allclose(best, [0, 1 - (3 / 4) ** 4, 1 - (1 / 2) ** 4, 1])  # 0, .684, .9375, 1
    assert best[1] == pytest.approx(0.684, abs=5e-4)
    assert best_of_k_with_replacement(np.array([3]), 8, 1)[0] == pass_at_k(np.array([3]), 8, 1)[0] == 3 / 8
    inner = np.arange(1, 8)
    for k in range(2, 9):
        assert (best_of_k_with_replacement(inner, 8, k) < pass_at_k(inner, 8, k)).all()


@pytest.mark.trap(40)
def test_best_of_k_is_what_resampling_comes_to():
    """Return verl's estimate: k of the samples are drawn with replacement, many times."""
    rng = np.random.default_rng(0)
    samples = np.array([True, True, False, False, False, False])
    drawn = rng.choice(samples, size=(100_000, 3)).any(axis=1).mean()
    assert best_of_k_with_replacement(np.array([2]), 6, 3)[0] == pytest.approx(drawn, abs=0.005)


@pytest.mark.parametrize("estimate", [pass_at_k, best_of_k_with_replacement])
@pytest.mark.parametrize("k", [0, 5])
def test_other_k_are_refused(estimate, k):
    with pytest.raises(ValueError, match=f"k={k}: must be between 1 and the 4 samples"):
        estimate(np.array([1]), 4, k)


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
    assert majority_correct(answers, correct, "6", by_text) == expected


def by_text(answer, others):
    return [answer == other for other in others]


def by_value(answer, others):
    """Compare by value, as a verifier does. A text that is not a number equals nothing."""

    def value(text):
        return Fraction(text) if text[0].isdigit() else None

    return [value(answer) is not None and value(answer) == value(other) for other in others]


HALVES = ["1/2", "0.5", "2/4"]


@pytest.mark.parametrize(
    ("answers", "right", "expected"),
    [
        ([*HALVES, "3", "3"], HALVES, 1.0),  # three spellings of one answer
        (["3", "3", *HALVES], HALVES, 1.0),
        ([*HALVES[:2], "3", "3.0", "6/2"], HALVES, 0.0),  # wrong ones have spellings, too
        ([*HALVES[:2], "3", "3.0"], HALVES, 0.5),  # a tie of two
        (["0.5", "1/2", "3", "6/2", "7", "7.0"], HALVES, 1 / 3),  # and of three
        (["0.5", "one", "two", "two"], HALVES, 0.0),  # what is no number has the votes of its text
        (["0.5", "2/4", "one", "two", "three"], HALVES, 1.0),
        (["0.5", "one", "two"], HALVES, 1 / 3),
        (["7", "7.0", "7"], [], 0.0),
        ([None, None, "1/2"], HALVES, 1.0),
    ],
)
def test_answers_that_say_the_same_vote_together(answers, right, expected):
    correct = [answer in right for answer in answers]
    assert majority_correct(answers, correct, "1/2", by_value) == pytest.approx(expected)


def test_right_answers_that_differ_from_each_other_are_one_by_the_gold_answer():
    """For the gold answer 50 %, both .5 and 50 are right, but they are not equal."""

    def same(answer, others):
        return [answer == "50 %" or answer == other for other in others]

    assert majority_correct(["0.5", "50", "7", "7"], [True, True, False, False], "50 %", same) == 0.5
    assert majority_correct(["0.5", "50", "7", "7"], [True, True, False, False], "50 %", by_text) == 0.0


def test_what_a_majority_vote_compares_is_bounded():
    asked = []

    def counting(answer, others):
        asked.extend(others)
        return [False] * len(others)

    names = [f"x{number}" for number in range(32)]
    assert majority_correct(names, [True] + [False] * 31, "x", counting) == 1 / 32
    assert len(asked) <= 32 * 33 / 2
    asked.clear()
    assert majority_correct(["a"] * 5 + names[:3], [False] * 5 + [True] * 3, "x", counting) == 0.0  # most votes
    assert majority_correct(names, [False] * 32, "x", counting) == 0.0  # nothing is right
    assert not asked


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
