"""Credit after the shared prefix, for all pairs of completions of an autoregressive policy."""

import dataclasses
import itertools
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from grpo_jax.config import ConfigError
from grpo_jax.objectives import Outcomes
from grpo_jax.objectives.credit import after_shared_prefix
from tests.objectives.helpers import groups_of, made_of

# Two tokens and a stop token, at most three tokens: fifteen completions.
STOP, WIDTH = 2, 3
TEXTS = [(STOP,), (0, STOP), (1, STOP), *itertools.product((0, 1), (0, 1), (0, 1, STOP))]
CONTEXTS = [(), (0,), (1,), *itertools.product((0, 1), repeat=2)]
LENGTHS = np.array([len(text) for text in TEXTS])
TOKENS = np.array([[*text, *[0] * (WIDTH - len(text))] for text in TEXTS], np.int32)
REWARDS = np.array([text[-1] == 0 or text == (1, STOP) for text in TEXTS], np.float32)
PAIRS = np.array(list(itertools.product(range(15), repeat=2)))
SHARED = np.array(
    [next(t for t in range(WIDTH + 1) if t == min(LENGTHS[[i, j]]) or TOKENS[i, t] != TOKENS[j, t]) for i, j in PAIRS]
)
VALID = REWARDS[PAIRS[:, 0]] != REWARDS[PAIRS[:, 1]]


def logprobs_of(logits):
    """[15, 3]: log pi of every completion's tokens; 0 after its end."""
    table = jax.nn.log_softmax(logits)
    places = np.array([[CONTEXTS.index(text[:t]) if t < len(text) else 0 for t in range(WIDTH)] for text in TEXTS])
    return jnp.where(np.arange(WIDTH) < LENGTHS[:, None], table[places, TOKENS], 0.0)


LOGITS = np.random.default_rng(1).normal(size=(7, 3)).astype(np.float32)
OLD = LOGITS + np.random.default_rng(2).normal(size=(7, 3)).astype(np.float32) * 0.4
NOW, BEFORE = (np.array(jax.jit(logprobs_of)(logits)) for logits in (LOGITS, OLD))
SCORES = np.array(jax.jit(jax.jacobian(logprobs_of))(LOGITS))  # [15, 3, 7, 3]
CHANCE = np.exp(NOW.sum(1))


@cache
def gradients(name, aggregation, credit, on_policy=True):
    """[225, 7, 3]: the gradient of each pair's loss by the logits."""
    made = made_of(name, aggregation=aggregation, credit=credit)
    outcomes = Outcomes(rewards=REWARDS[PAIRS], scored=np.ones(PAIRS.shape, bool), lengths=LENGTHS[PAIRS])
    old = (NOW if on_policy else BEFORE)[PAIRS]
    groups = groups_of(
        old=old,
        sampler=old,
        reference=BEFORE[PAIRS],
        lengths=LENGTHS[PAIRS],
        advantages=jax.jit(made.advantages)(outcomes),
    )
    groups = dataclasses.replace(groups, completion_tokens=TOKENS[PAIRS])
    by_token = jax.jit(jax.grad(lambda logprobs, groups: made.loss(logprobs, groups).total))(NOW[PAIRS], groups)
    return np.einsum("nit,nitcv->ncv", np.array(by_token), SCORES[PAIRS])


def assert_equal(found, expected):
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(found, expected, atol=2e-6)


def test_the_enumeration_is_complete():
    assert CHANCE.sum() == pytest.approx(1, abs=1e-6)
    assert {0, 1, 2} <= set(SHARED[VALID].tolist())


@pytest.mark.parametrize(
    ("name", "aggregation"),
    [("two_grpo", "sum"), ("grpo", "token"), ("grpo", "group_token"), ("dr_grpo", "constant"), ("sapo", "sum")],
)
def test_on_policy_the_shared_prefix_of_a_pair_cancels_exactly(name, aggregation):
    assert_equal(gradients(name, aggregation, "after_prefix"), gradients(name, aggregation, "all"))


def test_for_losses_of_right_against_wrong_it_cancels_off_policy_too():
    args = ("online_dpo", "sum")
    moved = gradients(*args, "all", on_policy=False)
    np.testing.assert_allclose(gradients(*args, "after_prefix", on_policy=False), moved, atol=1e-6)
    assert np.abs(moved).max() > 0.01


def test_under_the_mean_of_a_sequence_a_difference_in_lengths_is_left():
    """Of the shared token t a pair keeps A+ (1/|o+| - 1/|o-|) g_t; pairs of equal lengths keep nothing."""
    whole, cut = gradients("two_grpo", "sequence", "all"), gradients("two_grpo", "sequence", "after_prefix")
    left = np.zeros_like(whole)
    for n, (i, j) in enumerate(PAIRS):
        sign = REWARDS[i] - REWARDS[j]
        left[n] = -sign * (1 / LENGTHS[i] - 1 / LENGTHS[j]) * SCORES[i, : SHARED[n]].sum(0)
    assert_equal(whole - cut, left)
    same = LENGTHS[PAIRS[:, 0]] == LENGTHS[PAIRS[:, 1]]
    np.testing.assert_allclose(cut[same], whole[same], atol=2e-6)


def test_what_is_left_changes_the_expected_gradient():
    """Under "sum" both estimators climb the success rate; under "sequence" they climb different things."""
    weights = CHANCE[PAIRS].prod(1)

    def expected(aggregation, credit):
        return -np.einsum("n,ncv->cv", weights, gradients("two_grpo", aggregation, credit)) / 2

    success = np.array(jax.jit(jax.grad(lambda logits: (jnp.exp(logprobs_of(logits).sum(1)) * REWARDS).sum()))(LOGITS))
    np.testing.assert_allclose(expected("sum", "all"), success, atol=1e-6)
    np.testing.assert_allclose(expected("sum", "after_prefix"), success, atol=1e-6)
    whole, cut = expected("sequence", "all"), expected("sequence", "after_prefix")
    assert np.linalg.norm(whole - cut) > 0.02 * np.linalg.norm(whole)


def test_off_policy_it_cancels_where_the_clip_cuts_no_shared_token():
    whole, cut = (gradients("grpo", "sum", credit, on_policy=False) for credit in ("all", "after_prefix"))
    ratio = np.exp(NOW - BEFORE)
    outside = (ratio < 0.8) | (ratio > 1.28)
    separated = np.array([outside[i, :shared].any() for (i, _), shared in zip(PAIRS, SHARED, strict=True)]) & VALID
    assert separated.any()
    assert (VALID & ~separated & (SHARED > 0)).any()
    equal = np.abs(whole - cut).max((1, 2)) < 2e-6
    np.testing.assert_array_equal(equal, ~separated)


def test_only_completions_with_an_advantage_count():
    """The third of four has no verdict. The others share two tokens, and one ends there; the rest is padding."""
    tokens = np.array([[[7, 8, 9, 4], [7, 8, 9, 4], [5, 8, 9, 4], [7, 8, 9, 6]]], np.int32)
    lengths, advantages = np.array([[4, 2, 4, 4]]), np.array([[1.0, -0.5, 0.0, -0.5]], np.float32)
    zeros = np.zeros(tokens.shape, np.float32)
    groups = groups_of(old=zeros, sampler=zeros, reference=zeros, lengths=lengths, advantages=advantages)
    groups = dataclasses.replace(groups, completion_tokens=tokens)
    np.testing.assert_array_equal(jax.jit(after_shared_prefix)(groups), [[[False, False, True, True]]])

    made = made_of("rloo", 4, credit="after_prefix", kl_coef=0.5)
    moved = zeros + 0.1
    gradient = np.array(jax.jit(jax.grad(lambda new, groups: made.loss(new, groups).total))(moved, groups))
    mask = np.arange(4) < lengths[..., None]
    divergence = 0.5 * (1 - np.exp(-0.1)) * mask  # of k3, also in the prefix
    gain = np.exp(0.1) * advantages[..., None] * np.array([0, 0, 1, 1]) * mask
    np.testing.assert_allclose(gradient, divergence - gain, atol=1e-6)
    clipped = jax.jit(made.clipped_tokens)(moved + 1.0, groups)  # beyond the clip
    np.testing.assert_array_equal(clipped[0, 0], [False, False, True, True])


@pytest.mark.parametrize("name", ["reinforce_pp", "psr", "opo", "history_baseline"])
def test_prefixes_that_carry_signal_are_not_cut(name):
    with pytest.raises(ConfigError, match=f"credit='after_prefix': under {name} the advantages .* set it to 'all'"):
        made_of(name, credit="after_prefix")
    made_of(name, credit="all")
