"""The two arms, on bandits with a known covariance."""

import numpy as np
import pytest

from grpo_jax.analysis.arms import arms_of
from grpo_jax.analysis.bootstrap import mean_between, resample
from grpo_jax.analysis.products import within
from grpo_jax.analysis.subgroups import Subgroups, orders
from tests.analysis import bandit


def arms(logits, samples=16, size=2, seed=0, resamples=0, cuts=8, vectors=None, right=None):
    sampled, drawn = bandit.draw(logits, samples, seed)
    vectors = drawn if vectors is None else vectors
    right = sampled.right if right is None else right
    groups = Subgroups(orders(len(logits), samples, cuts, seed), size, within(vectors))
    return arms_of(groups, right, ~right, vectors, resample(len(logits), resamples, seed))


def expected(logits, size=2):
    """(right, wrong, both): total variances and covariance of the arms of pairs with both, over these prompts."""
    p = bandit.success(logits)
    valid = 2 * p * (1 - p)
    share = valid / valid.sum()
    means = bandit.mean_arms(logits)
    chances, of = bandit.probabilities(logits), bandit.scores(logits)
    squares = [
        ((chances * kind) * (of**2).sum(-1)).sum(1) / (chances * kind).sum(1) for kind in (bandit.RIGHT, ~bandit.RIGHT)
    ]
    one = np.ones((1, len(logits)))

    def signal(first, second):
        return mean_between(one, (valid[:, None] * first) @ (valid[:, None] * second).T, valid)[0]

    right, wrong = means
    return (
        share @ squares[0] - signal(right, right),
        share @ squares[1] - signal(wrong, wrong),
        share @ (right * wrong).sum(1) - signal(right, wrong),
    )


def test_variances_and_covariance_are_those_of_the_bandit():
    logits = bandit.many(40, spread=0.7)
    found = np.array([[part[0] for part in arms(logits, seed=seed).total] for seed in range(150)])
    error = found.std(0) / len(found) ** 0.5
    assert (np.abs(found.mean(0) - expected(logits)) < 4 * error + 0.01 * np.abs(expected(logits))).all()
    assert (error < 0.05 * np.array(expected(logits)[0])).all()


def test_the_parts_of_a_single_prompt():
    """One prompt, repeated: there is no variance across prompts, and given the prompt the arms are independent."""
    found = arms(np.repeat(bandit.ONE, 2000, 0), resamples=200)
    low, high = np.quantile(found.total.rho[1:], [0.005, 0.995])
    assert low < 0 < high
    assert abs(found.within.rho[0]) < 0.02
    for of in (found.total, found.within):
        assert found.total.right[0] == pytest.approx(of.right[0], rel=0.05)
    assert abs(found.across.right[0]) < 0.02 * found.within.right[0]


def test_best_c_and_what_is_left():
    """Artificial vectors: the g- of a pair is -2 g+ plus a part of its own that varies between prompts."""
    rng, prompts, samples = np.random.default_rng(0), 400, 8
    right = np.tile([True, False], (prompts, samples // 2))
    common = rng.normal(size=(prompts, 1, 6))
    own = rng.normal(size=(prompts, samples, 6)) * 0.5
    vectors = (np.where(right[..., None], common, -2 * common) + own).astype(np.float32)
    found = arms(np.repeat(bandit.ONE, prompts, 0), samples, vectors=vectors, right=right, resamples=200)
    right_variance, wrong_variance, covariance = 1.25, 4.25, -2.0
    assert found.total.rho[0] == pytest.approx(covariance / (right_variance * wrong_variance) ** 0.5, abs=0.03)
    assert found.total.best[0] == pytest.approx(covariance / wrong_variance, abs=0.03)
    assert found.total.left(found.total.best)[0] == pytest.approx(1 - found.total.rho[0] ** 2)
    assert found.total.left(1.0)[0] == pytest.approx((right_variance + wrong_variance + 4) / right_variance, rel=0.06)
    assert found.across.rho[0] == pytest.approx(-1, abs=0.03)
    assert abs(found.within.rho[0]) < 0.05
    assert found.repaired.p < 0.01
    assert found.repaired.low < 0 < found.repaired.high
    assert found.repaired.rho == pytest.approx(found.total.rho[0], abs=0.02)


def test_the_baselines_are_centred_at_nothing():
    """Prompts whose arms have independent means, and different shares of right answers."""
    values, rng = [], np.random.default_rng(0)
    for seed in range(40):
        logits = bandit.many(60, seed=seed)
        sampled, _ = bandit.draw(logits, 8, seed)
        of_right, of_wrong = rng.normal(0.4, 1.0, (2, 60, 1, 6))
        vectors = np.where(sampled.right[..., None], of_right, of_wrong) + rng.normal(size=(60, 8, 6))
        found = arms(logits, 8, seed=seed, vectors=vectors.astype(np.float32))
        values.append([(base.low + base.high) / 2 for base in (found.repaired, found.regrouped)])
    values = np.array(values)
    assert (np.abs(values.mean(0)) < 4 * values.std(0) / 40**0.5 + 0.01).all()


def test_a_link_within_pairs_as_they_were_sampled_is_seen():
    """As with coupled noise, neighbours share a part. Randomly composed groups do not."""
    rng, prompts, samples = np.random.default_rng(0), 200, 16
    right = np.tile([True, False], (prompts, samples // 2))
    shared = np.repeat(rng.normal(size=(prompts, samples // 2, 6)), 2, axis=1)
    vectors = (shared + rng.normal(size=(prompts, samples, 6))).astype(np.float32)
    found = arms(np.repeat(bandit.ONE, prompts, 0), samples, cuts=40, vectors=vectors, right=right)
    assert found.regrouped.rho == pytest.approx(0.5 * 7 / 8, abs=0.03)  # over the mean of all 8 x 8, which has 8
    assert found.within.rho[0] == pytest.approx(found.regrouped.rho, abs=1e-6)  # and not the mean over all cuts
    assert found.regrouped.high < 0.2
    assert found.regrouped.p == pytest.approx(1 / 40)


def test_gain_is_the_ratio_of_signal_to_noise():
    found = arms(bandit.many(60), size=4)
    c = 0.3
    right, wrong, both = found.signal
    signal = right[0] - 2 * c * both[0] + c**2 * wrong[0]
    noise = found.total.right[0] - 2 * c * found.total.both[0] + c**2 * found.total.wrong[0]
    assert found.gain(c)[0] == pytest.approx((signal / noise) / (right[0] / found.total.right[0]))
    assert found.gain(0.0)[0] == pytest.approx(1)


def test_valid_groups_and_completions_without_a_verdict():
    right = np.array([[1, 0, 1, 0], [1, 1, 1, 1], [0, 0, 1, 1]], bool)
    wrong = ~right
    wrong[0, 1] = False  # unscored
    wrong[2] = False
    vectors = np.random.default_rng(0).normal(size=(3, 4, 5)).astype(np.float32)
    order = orders(3, 4, 3, 0)
    groups = Subgroups(order, 2, within(vectors))
    assert arms_of(groups, right, wrong, vectors, np.ones((1, 3))) is None  # only the first prompt has groups with both
    right[2] = [True, False, False, False]
    wrong[2] = ~right[2]
    found = arms_of(groups, right, wrong, vectors, np.ones((1, 3)))
    both = [
        any(right[q, i] for i in pair) and any(wrong[q, i] for i in pair)
        for of_cut in order
        for q, row in enumerate(of_cut)
        for pair in row.reshape(2, 2)
    ]
    assert found.both_share[0] == pytest.approx(np.mean(both))
    assert found.split_prompts == 0  # the first has one wrong one, the last one right one


def test_arms_are_the_means_of_a_group_s_right_and_wrong_ones():
    """Groups of four, with plain loops: variances and covariance, minus products of different prompts' arms."""
    logits = bandit.many(6, seed=5)
    sampled, vectors = bandit.draw(logits, 8, seed=5)
    order = orders(6, 8, 3, 0)
    found = arms_of(
        Subgroups(order, 4, within(vectors)), sampled.right, ~sampled.right, vectors, np.ones((1, 6))
    )  # fmt: skip
    of_prompts = [[] for _ in range(6)]
    for cut in order:
        for q, row in enumerate(cut):
            for group in row.reshape(2, 4):
                right = sampled.right[q, group]
                if 0 < right.sum() < 4:
                    of_prompts[q].append((vectors[q, group[right]].mean(0), vectors[q, group[~right]].mean(0)))
    for part, (first, second) in zip(found.total, ((0, 0), (1, 1), (0, 1)), strict=True):
        same = [arms[first] @ arms[second] for of in of_prompts for arms in of]
        others = [
            one[first] @ other[second]
            for q, of in enumerate(of_prompts)
            for p, of_other in enumerate(of_prompts)
            if p != q
            for one in of
            for other in of_other
        ]
        assert part[0] == pytest.approx(np.mean(same) - np.mean(others), abs=1e-5)
