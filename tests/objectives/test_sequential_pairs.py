"""Why there are no sequential pairs: estimators that sample a second pair where the first is level (all answers alike).

docs/better_pairs.md derives them. All groups of four answers of a bandit are enumerated, for prompts from hard to easy.
"""

import itertools

import numpy as np
import pytest

from tests.analysis import bandit

SUCCESS = [bandit.ONE + shift * bandit.RIGHT for shift in (-4, -2, 0, 2, 4)]  # p from .01 to .98
FOURS = np.array(list(itertools.product(range(4), repeat=4)))
RIGHT = bandit.RIGHT[FOURS].astype(float)
MIXED, SECOND_MIXED = RIGHT[:, 0] != RIGHT[:, 1], RIGHT[:, 2] != RIGHT[:, 3]


def contrast(scores, places):
    """[256, 4]: the mean score of the right answers minus that of the wrong ones; 0 if they are alike."""
    right = RIGHT[:, places]
    n, m = right.sum(1, keepdims=True), (1 - right).sum(1, keepdims=True)
    advantages = np.where((n > 0) & (m > 0), right / np.maximum(n, 1) - (1 - right) / np.maximum(m, 1), 0.0)
    return np.einsum("ni,nid->nd", advantages, scores[FOURS[:, places]])


def moments(logits, estimate):
    """The share of the gradient of p in the mean of an estimate of it, the rest's length, and the total variance."""
    chances, scores = bandit.probabilities(logits)[0], bandit.scores(logits)[0].astype(np.float64)
    weights = chances[FOURS].prod(1)
    of_p = (chances[:, None] * bandit.RIGHT[:, None] * scores).sum(0)
    gradients = estimate(scores)
    mean = weights @ gradients
    share = mean @ of_p / (of_p @ of_p)
    return share, np.linalg.norm(mean - share * of_p), weights @ ((gradients - mean) ** 2).sum(1)


def pair(scores):
    return contrast(scores, [0, 1]) / 2


def four(scores):
    """RLOO with four: the mean over all pairs in a group."""
    right = RIGHT.sum(1, keepdims=True)
    return right * (4 - right) / 12 * contrast(scores, [0, 1, 2, 3])


def naive(scores):
    """The first pair of two that is not level."""
    return np.where(MIXED[:, None], contrast(scores, [0, 1]), contrast(scores, [2, 3])) / 2


def sequential(a):
    """Weight 1/2 - a of a first pair that is not level; else four answers, of two level pairs twice as much."""
    return lambda scores: np.where(
        MIXED[:, None],
        (0.5 - a) * contrast(scores, [0, 1]),
        np.where(SECOND_MIXED, a, 2 * a)[:, None] * contrast(scores, [0, 1, 2, 3]),
    )


@pytest.mark.parametrize("logits", SUCCESS)
def test_the_naive_estimate_is_biased_by_the_chance_of_a_second_pair(logits):
    p = bandit.success(logits)[0]
    share, rest, _ = moments(logits, naive)
    assert share == pytest.approx(1 + p**2 + (1 - p) ** 2, rel=1e-5)
    assert rest < 1e-6


@pytest.mark.parametrize("logits", SUCCESS)
@pytest.mark.parametrize("a", [0.0, 0.1, 0.25, 0.4])
def test_contrasts_across_the_two_pairs_remove_the_bias(logits, a):
    share, rest, _ = moments(logits, sequential(a))
    assert share == pytest.approx(1, rel=1e-5)
    assert rest < 1e-6


@pytest.mark.parametrize("logits", SUCCESS)
def test_groups_of_four_are_better_at_equal_rollouts(logits):
    """Variance times rollouts: .58 to .91 of that of pairs for the unbiased sequential ones, .56 to .84 for fours."""
    p = bandit.success(logits)[0]
    costs = {pair: 2, sequential(0.25): 2 + 2 * (p**2 + (1 - p) ** 2), four: 4}
    plain, stopped, whole = (moments(logits, estimate)[2] * cost for estimate, cost in costs.items())
    assert 0.55 < whole / plain < stopped / plain < 0.92
