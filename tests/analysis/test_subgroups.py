"""Variance and signal by group size, on bandits with known values."""

import itertools
from functools import partial

import jax.numpy as jnp
import numpy as np
import pytest

from grpo_jax.analysis.bootstrap import mean_between, resample
from grpo_jax.analysis.products import between, combine, within
from grpo_jax.analysis.subgroups import PER, Cuts, Subgroups, group_sizes, moments, noise_of, orders
from grpo_jax.objectives import Outcomes
from grpo_jax.objectives.advantages import contrastive, group_normalized, leave_one_out, mean_centered
from tests.analysis import bandit

PRINTED = {2: 0.242, 4: 0.392, 8: 0.454, 16: 0.475}  # w_G(.412)
ESTIMATORS = {
    "n_vs_m": contrastive,
    "grpo": partial(group_normalized, ddof=0),
    "dr_grpo": mean_centered,
    "rloo": leave_one_out,
}


def of(logits, samples, size, estimator=contrastive, cuts=4, seed=0):
    sampled, vectors = bandit.draw(logits, samples, seed)
    groups = Subgroups(orders(len(logits), samples, cuts, seed), size, within(vectors))
    return moments(estimator, groups, sampled), vectors


@pytest.mark.parametrize("size", PRINTED)
def test_the_mean_gradient_of_one_prompt_is_w_times_the_contrast(size):
    """Many draws of one prompt with p = .412, treated as many prompts, give w_G(p) as printed in the paper's trial."""
    prompts = 3000
    found, vectors = of(np.repeat(bandit.ONE, prompts, 0), 32, size, cuts=2)
    right, wrong = (arm[0] for arm in bandit.mean_arms(bandit.ONE))
    means = combine(vectors, found.coefficients)
    contrast = right - wrong
    weight = means @ contrast / (contrast @ contrast)
    assert weight.mean() == pytest.approx(PRINTED[size], abs=4 * weight.std() / prompts**0.5 + 5e-4)
    signal = mean_between(np.ones((1, prompts)), between(means, means))[0]
    assert signal**0.5 == pytest.approx(PRINTED[size] * (contrast @ contrast) ** 0.5, rel=0.02)


def exact_pairs(logits):
    """E |h|^2 and the means of h, [Q, 4], of pairs, by enumeration."""
    p, of_answers = bandit.probabilities(logits), bandit.scores(logits)
    squared, mean = np.zeros(len(logits)), np.zeros((len(logits), 4))
    for first, second in itertools.product(range(4), repeat=2):
        sign = float(bandit.RIGHT[first]) - float(bandit.RIGHT[second])
        h = sign * (of_answers[:, first] - of_answers[:, second]) / 2
        chance = p[:, first] * p[:, second]
        squared += chance * (h**2).sum(1)
        mean += chance[:, None] * h
    return squared, mean


def test_variance_and_its_parts_are_those_of_enumeration():
    """2-GRPO over different prompts: each estimate is within four standard errors, over repeated samples."""
    logits = bandit.many(40)
    squared, mean = exact_pairs(logits)
    # Over a population of which these prompts are the whole: products of different prompts are of pairs of them.
    signal = mean_between(np.ones((1, 40)), mean @ mean.T)[0]
    own = (mean**2).sum(1).mean()
    expected = {"signal": signal, "within": squared.mean() - own, "across": own - signal}
    found = {name: [] for name in expected}
    for seed in range(200):
        noise = noise_of(*of(logits, 8, 2, seed=seed), np.ones((1, 40)))
        for name, values in found.items():
            values.append(getattr(noise, name)[0])
    for name, values in found.items():
        error = np.std(values) / len(values) ** 0.5
        assert np.mean(values) == pytest.approx(expected[name], abs=4 * error), name
        assert error < 0.05 * max(expected["within"], expected["across"])


@pytest.mark.parametrize("name", ESTIMATORS)
def test_moments_are_those_of_groups_taken_one_by_one(name):
    """The groups are in the order of sampling, and the expected moments come from plain loops."""
    logits, size, samples = bandit.many(5, seed=3), 4, 16
    sampled, vectors = bandit.draw(logits, samples)
    sampled.scored[1, 2] = sampled.scored[4, :3] = False
    groups = Subgroups(orders(5, samples, 1, 0), size, within(vectors))
    found = moments(ESTIMATORS[name], groups, sampled)
    for q in range(5):
        cut = [slice(start, start + size) for start in range(0, samples, size)]
        gradients = []
        for part in cut:
            outcomes = Outcomes(
                rewards=jnp.asarray(sampled.rewards[q : q + 1, part]),
                scored=jnp.asarray(sampled.scored[q : q + 1, part]),
            )
            gradients.append(np.asarray(ESTIMATORS[name](outcomes))[0] @ vectors[q, part] / size)
        inner = np.array(gradients) @ np.array(gradients).T
        assert found.squared[q] == pytest.approx(inner.trace() / 4, abs=1e-5)
        assert found.apart[q] == pytest.approx((inner.sum() - inner.trace()) / 12, abs=1e-5)
        np.testing.assert_allclose(combine(vectors, found.coefficients)[q], np.mean(gradients, 0), atol=1e-4)


def test_cuts_are_put_back_in_order():
    groups = Cuts(orders(3, 8, 5, 0), 4)
    values = np.arange(24.0).reshape(3, 8)
    assert (groups.in_sampling_order(groups.cut(values)) == values).all()
    assert (groups.cut(values)[0] == values.reshape(3, 2, 4)).all()  # the first is as sampled
    assert (groups.cut(values)[1:] != values.reshape(3, 2, 4)).any()


def test_ratios_per_prompt_rollout_and_token():
    logits = bandit.many(30)
    sampled, vectors = bandit.draw(logits, 16)
    lengths = np.random.default_rng(0).integers(1, 9, (30, 16)).astype(np.int32)
    sampled = bandit.sampled(sampled.right, lengths=lengths)
    weights = resample(30, 5, 0)
    groups = Subgroups(orders(30, 16, 2, 0), 8, within(vectors))
    noise = noise_of(moments(contrastive, groups, sampled), vectors, weights)
    snr = {name: per(noise) for name, per in PER.items()}
    np.testing.assert_allclose(snr["prompt"], noise.signal / (noise.variance / 8))
    np.testing.assert_allclose(snr["rollout"], snr["prompt"] / 8)
    np.testing.assert_allclose(snr["token"], snr["rollout"] / (weights @ lengths.mean(1) / 30))
    one_kind = (sampled.right.reshape(30, 2, 8).mean(-1) % 1 == 0).mean()
    assert one_kind > 0
    assert (snr["learned_token"] > snr["token"]).all()


def test_scale_does_not_matter_to_ratios():
    """RLOO is G/(G-1) times Dr. GRPO, and N-vs-M equals GRPO, so their signal-to-noise ratios are equal."""
    logits, weights = bandit.many(20), np.ones((1, 20))
    snr = {name: noise_of(*of(logits, 16, 4, estimator), weights).per_prompt for name, estimator in ESTIMATORS.items()}
    np.testing.assert_allclose(snr["rloo"], snr["dr_grpo"], rtol=1e-4)
    np.testing.assert_allclose(snr["n_vs_m"], snr["grpo"], rtol=1e-4)
    assert abs(snr["grpo"] / snr["rloo"] - 1) > 1e-3


def test_group_sizes():
    assert [group_sizes(samples) for samples in (2, 4, 8, 31, 32, 64)] == [
        [], [2], [2, 4], [2, 4, 8], [2, 4, 8, 16], [2, 4, 8, 16],
    ]  # fmt: skip
