"""The baseline from a prompt's history: by hand, and by a sum over all histories and pairs of a bandit."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from grpo_jax.objectives.advantages import contrastive, leave_one_out
from grpo_jax.objectives.historical_advantages import historical
from grpo_jax.runs.groups import carries_signal
from tests.analysis import bandit
from tests.objectives.helpers import outcomes

PAIRS = np.array(list(itertools.product(range(4), repeat=2)))  # of the answers of the bandit
REWARDS = bandit.RIGHT[PAIRS].astype(np.float32)
EQUAL = np.ones(4)
VISITS = 3  # earlier completions of the prompt, after a prior of two rollouts


def test_by_hand():
    """Four earlier completions, three of them right: (4 x 3/4 + r') / 5. And with half of them: (2 x 3/4 + r') / 3."""
    past = {"expected": jnp.full(4, 0.75), "evidence": jnp.full(4, 4.0)}
    pairs = outcomes([[1, 0], [0, 1], [1, 1], [0, 0]], **past)
    np.testing.assert_allclose(historical(pairs), [[0.4, -0.8], [-0.8, 0.4], [0.2, 0.2], [-0.6, -0.6]], atol=1e-6)
    half = [[0.5, -5 / 6], [-5 / 6, 0.5], [1 / 6, 1 / 6], [-0.5, -0.5]]
    np.testing.assert_allclose(historical(pairs, trust=0.5), half, atol=1e-6)


def test_without_a_history_it_is_rloo_and_with_certainty_reinforce():
    groups = outcomes([[1, 0, 0], [1, 1, 1], [0.2, 0.7, 0.1]], expected=jnp.full(3, 0.3), evidence=jnp.full(3, 5.0))
    np.testing.assert_allclose(historical(groups, trust=0.0), leave_one_out(groups), atol=1e-6)
    sure = outcomes([[1, 0, 0]], expected=jnp.full(1, 0.3), evidence=jnp.full(1, 1e8))
    np.testing.assert_allclose(historical(sure), [[0.7, -0.3, -0.3]], atol=1e-6)


@pytest.mark.trap(16)
def test_what_has_no_verdict_is_no_part_of_a_baseline():
    """Its partner is compared with the history alone: with nothing if there is none."""
    past = {"expected": jnp.full(1, 0.5), "evidence": jnp.full(1, 2.0)}
    alone = outcomes([[1.0, 1.0]], scored=[[True, False]], **past)
    np.testing.assert_allclose(historical(alone), [[0.5, 0.0]], atol=1e-6)
    np.testing.assert_array_equal(historical(alone, trust=0.0), [[0.0, 0.0]])


def test_pairs_of_one_kind_carry_signal_unless_it_was_expected():
    level = [[1, 1], [0, 0], [1, 1]]
    found = historical(outcomes(level, expected=jnp.array([0.9, 0.9, 1.0]), evidence=jnp.full(3, 6.0)))
    assert carries_signal(np.asarray(found)).tolist() == [True, True, False]
    assert not carries_signal(np.asarray(contrastive(outcomes(level)))).any()


def cases(successes, evidence, advantages, lengths):
    """Return the mean advantage-weighted score [4] of a pair, and its second moment, over all pairs of answers.

    Args:
      lengths: by which the score of each answer is divided.
      successes: of the earlier completions and the prior, a number.
      evidence: how many these are.
      advantages: (outcomes) -> [16, 2].
    """
    past = {"expected": jnp.full(16, successes / evidence), "evidence": jnp.full(16, evidence)}
    found = np.asarray(advantages(outcomes(REWARDS, **past)), np.float64)
    gradients = (found[:, :, None] * (bandit.scores(bandit.ONE)[0] / lengths[:, None])[PAIRS]).mean(1)
    chance = bandit.probabilities(bandit.ONE)[0][PAIRS].prod(1)
    return chance @ gradients, chance @ (gradients**2).sum(1)


def histories(p, prior):
    """Yield the probability of each number of earlier successes, and this number with those of the prior of 2."""
    for successes in range(VISITS + 1):
        ways = len(list(itertools.combinations(range(VISITS), successes)))
        yield ways * p**successes * (1 - p) ** (VISITS - successes), successes + 2 * prior


def moments(advantages, prior, lengths=EQUAL):
    """Return the expected gradient and its variance, over all histories and pairs."""
    p = float(bandit.success(bandit.ONE)[0])
    found = [(weight, *cases(total, VISITS + 2.0, advantages, lengths)) for weight, total in histories(p, prior)]
    mean = sum(weight * first for weight, first, _ in found)
    return mean, sum(weight * second for weight, _, second in found) - (mean**2).sum()


def rising():
    """The gradient of p itself by the logits."""
    chance = bandit.probabilities(bandit.ONE)[0]
    return chance * (bandit.RIGHT - chance[bandit.RIGHT].sum())


@pytest.mark.parametrize("prior", [0.0, 0.4, 0.9])
@pytest.mark.parametrize("trust", [0.3, 1.0])
def test_the_gradient_is_that_of_plain_pairs_whatever_the_history_says(prior, trust):
    found, _ = moments(lambda of: historical(of, trust=trust), prior)
    np.testing.assert_allclose(found, rising(), atol=1e-6)


def test_under_the_mean_over_tokens_a_wrong_history_is_biased():
    """Not one that is right on average: p is .412."""
    lengths, p = np.array([1, 2, 3, 1]), float(bandit.success(bandit.ONE)[0])
    plain, _ = moments(contrastive, p, lengths)
    np.testing.assert_allclose(moments(historical, p, lengths)[0], plain, atol=1e-6)
    assert np.linalg.norm(moments(historical, 0.9, lengths)[0] - plain) > 0.1 * np.linalg.norm(plain)


def test_a_history_that_contains_the_present_pair_shrinks_the_gradient():
    """Its baseline is (k m + r + 2 r') / (k + 3), so (k + 2) / (k + 3) of the gradient is left, with k = 5."""

    def present_included(of):
        known = of.evidence + 2
        mean = (of.expected * of.evidence + of.rewards.sum(-1)) / known
        return historical(outcomes(REWARDS, expected=mean, evidence=known))

    found, _ = moments(present_included, 0.4)
    np.testing.assert_allclose(found, 7 / 8 * rising(), atol=1e-6)


def test_the_baseline_lowers_the_variance_of_the_gradient():
    """Against plain pairs, for a prior that is right and one that is far off."""
    _, plain = moments(contrastive, 0.4)
    assert moments(historical, 0.4)[1] < 0.75 * plain
    assert moments(historical, 0.9)[1] < 0.85 * plain


def test_its_weight_of_the_history_is_the_best_under_the_posterior():
    """Over p uniform in [0, 1], which is the prior of two rollouts at 1/2: all histories, both partners' rewards."""
    nodes, weights = np.polynomial.legendre.leggauss(8)  # exact for these polynomials in p

    def squared_error(baseline):
        return sum(
            weight / 2 * chance * (p if partner else 1 - p) * (baseline(total / (VISITS + 2), partner) - p) ** 2
            for p, weight in zip((nodes + 1) / 2, weights, strict=True)
            for chance, total in histories(p, 0.5)
            for partner in (0, 1)
        )

    def ours(mean, partner):
        past = {"expected": jnp.full(1, mean), "evidence": jnp.full(1, VISITS + 2.0)}
        return 1 - float(historical(outcomes([[1, partner]], **past))[0, 0])

    least = squared_error(ours)
    others = [squared_error(lambda mean, partner, c=c: (1 - c) * partner + c * mean) for c in np.linspace(0, 1, 41)]
    assert least < min(others) + 1e-9
    assert least < 0.5 * others[0]
    assert np.linspace(0, 1, 41)[np.argmin(others)] == pytest.approx((VISITS + 2) / (VISITS + 3), abs=0.0126)
