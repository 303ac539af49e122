"""The paper's equivalences, as equal gradients; and its identities, on a policy that is enumerated exactly."""

import itertools
import math
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from grpo_jax.objectives import AGGREGATIONS, Outcomes, Terms, length_mask
from grpo_jax.objectives.advantages import contrastive, group_normalized, leave_one_out, mean_centered
from grpo_jax.objectives.paper_surrogates import n_vs_m, two_grpo
from grpo_jax.objectives.ratios import log_importance_ratio
from grpo_jax.objectives.surrogates import clipped
from tests.objectives.helpers import terms_of

WIDTH = 6
CLIPS = {"on": (0.2, 0.28), "off": (1.0, float("inf")), "zero": (0.0, 0.0)}


@cache
def program(loss, estimator, clip):
    """The gradient of a loss by log-probabilities. Estimators are told apart by their names and settings."""
    clip_low, clip_high = CLIPS[clip]
    function, settings = estimator

    def total(logprobs, old, mask, weights, outcomes):
        advantages = function(outcomes, **dict(settings))
        terms = terms_of(logprobs, old, mask=mask, weights=weights, advantages=advantages)
        return loss(terms, clip_low=clip_low, clip_high=clip_high)

    return jax.jit(jax.grad(total))


def gradient(loss, estimator, rewards, scored=None, *, clip="on", aggregation="sequence", **settings):
    """The gradient of a loss by the log-probabilities of random completions, off-policy where the clip matters."""
    draws = np.random.default_rng(0)
    lengths = draws.integers(1, WIDTH + 1, size=rewards.shape)
    old = draws.uniform(-3.0, -0.1, size=(*rewards.shape, WIDTH)).astype(np.float32)
    logprobs = old if clip == "zero" else old + 0.5 * draws.standard_normal(old.shape, np.float32)
    scored = np.ones(rewards.shape, bool) if scored is None else scored
    mask = length_mask(jnp.asarray(lengths), WIDTH)
    weights = jnp.where(mask, AGGREGATIONS[aggregation].weight(jnp.asarray(lengths), WIDTH)[..., None], 0.0)
    of_total = program(loss, (estimator, tuple(settings.items())), clip)
    return np.array(of_total(logprobs, old, mask, weights, Outcomes(rewards=rewards, scored=scored)))


def all_pairs():
    return np.array(list(itertools.product([0.0, 1.0], repeat=2)), np.float32)


@pytest.mark.parametrize("clip", CLIPS)
@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_two_grpo_is_everything_it_should_be(clip, aggregation):
    """2-GRPO = N-vs-M(1, 1) = GRPO(G=2, ddof 0) = RLOO(2) = 2 x Dr. GRPO."""
    of = partial(gradient, rewards=all_pairs(), clip=clip, aggregation=aggregation)
    pairs = of(two_grpo, contrastive)
    assert np.abs(pairs).max() > 0.01
    np.testing.assert_allclose(of(n_vs_m, contrastive), pairs, atol=1e-6)
    np.testing.assert_allclose(of(clipped, group_normalized, ddof=0), pairs, atol=1e-6)
    np.testing.assert_allclose(of(clipped, leave_one_out), pairs, atol=1e-6)
    np.testing.assert_allclose(2 * of(clipped, mean_centered), pairs, atol=1e-6)


@pytest.mark.parametrize("clip", CLIPS)
def test_n_vs_m_is_grpo_for_every_split(clip):
    """Groups of 2, 3, ..., 16, each with 0, 1, ..., G positives; what a small group leaves free has no verdict."""
    splits = [(size, positives) for size in range(2, 17) for positives in range(size + 1)]
    rewards = np.array([[index < positives for index in range(16)] for _, positives in splits], np.float32)
    scored = np.array([[index < size for index in range(16)] for size, _ in splits])
    grpo = gradient(clipped, group_normalized, rewards, scored, clip=clip)
    contrast = gradient(n_vs_m, contrastive, rewards, scored, clip=clip)
    np.testing.assert_allclose(contrast, grpo, atol=2e-6)
    of_one_kind = np.array([positives in (0, size) for size, positives in splits])
    assert (np.abs(grpo).max(axis=(1, 2)) > 0.001).tolist() == (~of_one_kind).tolist()


def test_two_grpo_by_hand():
    """Prompt A: the second of two is right, with lengths 2 and 1; prompt B: both wrong."""
    old = jnp.log(jnp.array([[[0.5, 0.4], [0.2, 0.9]], [[0.5, 0.5], [0.5, 0.5]]]))
    logprobs = jnp.log(jnp.array([[[0.6, 0.2], [0.25, 0.9]], [[0.9, 0.1], [0.1, 0.9]]]))
    lengths = jnp.array([[2, 1], [2, 2]])
    mask = length_mask(lengths, 2)
    weights = jnp.where(mask, 1.0 / lengths[..., None], 0.0)
    advantages = jnp.array([[-1.0, 1.0], [0.0, 0.0]])
    terms = terms_of(logprobs, old, mask=mask, weights=weights, advantages=advantages)
    loss = two_grpo(terms, clip_low=0.2, clip_high=0.28)
    positive = 1.25  # 0.25 / 0.2, below the cap of 1.28
    negative = (1.2 + 0.8) / 2  # 0.6 / 0.5, and 0.2 / 0.4 = 0.5, floored at 0.8
    assert float(loss) == pytest.approx(-(positive - negative), rel=1e-5)


# Four one-token answers, of which the first two are right: p = .412, the share of PAPER's check.
CHANCE = np.array([0.25, 0.162, 0.4, 0.188], np.float32)
LOGITS = np.log(CHANCE)
RIGHT = np.array([1.0, 1.0, 0.0, 0.0], np.float32)


def exact_gradient(loss, estimator, size):
    """E over all groups of `size` answers of the gradient, per completion: what infinitely many prompts would give."""
    groups = np.array(list(itertools.product(range(4), repeat=size)))
    probability = CHANCE[groups].prod(-1)
    outcomes = Outcomes(rewards=RIGHT[groups], scored=np.ones(groups.shape, bool))

    def of_group(logits, answers, advantage):
        logprobs = jax.nn.log_softmax(logits)[answers][:, None]
        mask = jnp.ones(logprobs.shape, bool)
        log_ratio = log_importance_ratio(logprobs, jax.lax.stop_gradient(logprobs), mask)
        terms = Terms(
            mask=mask,
            plain_weights=jnp.ones(logprobs.shape),
            correction=jnp.ones(logprobs.shape),
            prompt_weights=jnp.ones(()),
            logprobs=logprobs,
            log_ratio=log_ratio,
            reference_logprobs=None,
            advantages=advantage,
        )
        return -loss(terms, clip_low=0.2, clip_high=0.28) / size

    def of_groups(logits, answers, outcomes):
        return jax.vmap(jax.grad(of_group), (None, 0, 0))(logits, answers, estimator(outcomes))

    return (probability[:, None] * jax.jit(of_groups)(LOGITS, groups, outcomes)).sum(0)


def mean_gradients():
    """g+ and g-: the mean gradient of log pi over right and over wrong answers."""
    scores = np.eye(4) - CHANCE  # of a softmax
    right, wrong = CHANCE * RIGHT, CHANCE * (1 - RIGHT)
    return right @ scores / right.sum(), wrong @ scores / wrong.sum()


@pytest.mark.parametrize(("size", "printed"), [(2, 0.242), (4, 0.392), (6, None)])
@pytest.mark.parametrize(("loss", "estimator"), [(clipped, group_normalized), (n_vs_m, contrastive)])
def test_expected_gradient_is_w_times_the_contrast(size, printed, loss, estimator):
    """E gradient = w_G(p) (g+ - g-), with w_G(p) = E_{K ~ Bin(G, p)} sqrt(K/G (1 - K/G))."""
    p = float(CHANCE @ RIGHT)
    weight = sum(
        math.comb(size, k) * p**k * (1 - p) ** (size - k) * math.sqrt(k / size * (1 - k / size))
        for k in range(size + 1)
    )
    if printed:
        assert weight == pytest.approx(printed, abs=5e-4)
    positive, negative = mean_gradients()
    np.testing.assert_allclose(exact_gradient(loss, estimator, size), weight * (positive - negative), atol=1e-6)


def test_two_grpo_climbs_the_success_rate_exactly():
    """Without length normalisation the expected gradient of 2-GRPO is the gradient of p itself."""
    expected = jax.jit(jax.grad(lambda logits: jax.nn.softmax(logits) @ RIGHT))(LOGITS)
    np.testing.assert_allclose(exact_gradient(two_grpo, contrastive, 2), expected, atol=1e-6)


def test_positive_and_negative_scores_balance():
    """p g+ + (1 - p) g- = 0: given the prompt, the two arms are two views of one direction."""
    p = float(CHANCE @ RIGHT)
    positive, negative = mean_gradients()
    np.testing.assert_allclose(p * positive + (1 - p) * negative, 0.0, atol=1e-7)
