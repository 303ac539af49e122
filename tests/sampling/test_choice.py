"""The choice of a token: in one level or in two, it follows the softmax of the logits."""

import dataclasses
import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding
from scipy import stats

from grpo_jax.config import MeshConfig
from grpo_jax.randomness import prompt_keys
from grpo_jax.sampling import NOISES
from grpo_jax.sampling.choice import BLOCK, draw, likeliest, noise_size
from grpo_jax.sampling.noise import antithetic, common
from grpo_jax.sharding import make_mesh
from tests.policy.test_policy import make
from tests.sampling.test_sampler import COUNTER, PROMPTS, sampler, sharp, trainer_logprobs, valid

KINDS = sorted(NOISES)
LARGE = 3 * BLOCK - 20  # three blocks, the last ids of the last row of which do not exist
ZIPF = -np.log(np.arange(1, LARGE + 1, dtype=np.float32))
ROWS = 20_000
LEAST = 1e-4  # a p-value below this is no accident; the draws are always the same


def drawn(logits, kind="independent", sample=0):
    """Return many tokens of one distribution, and their log-probabilities."""
    keys = prompt_keys(COUNTER.key(), jnp.arange(ROWS, dtype=jnp.uint32))
    return tuple(map(np.array, _drawn(jnp.asarray(logits, jnp.float32), kind, jnp.int32(sample), keys)))


@partial(jax.jit, static_argnums=1)
def _drawn(logits, kind, sample, keys):
    def of_prompt(key):
        return draw(logits, NOISES[kind](key, sample, jnp.int32(0), noise_size(len(logits)), 2))

    return jax.vmap(of_prompt)(keys)


def pvalue(tokens, logits):
    """Return the p-value of the chi-square test; tokens that are expected less than five times count as one."""
    weights = np.exp(logits.astype(np.float64))
    expected = weights / weights.sum() * len(tokens)
    counts = np.bincount(tokens, minlength=len(logits))
    frequent = expected >= 5
    seen, expected = (np.append(each[frequent], each[~frequent].sum()) for each in (counts, expected))
    return stats.chisquare(seen[expected > 0], expected[expected > 0]).pvalue


def test_the_noise_of_a_large_vocabulary_is_of_its_blocks_and_of_the_tokens_of_one():
    assert [noise_size(vocab) for vocab in (1, BLOCK)] == [1, BLOCK]
    assert [noise_size(vocab) for vocab in (BLOCK + 1, 2 * BLOCK, LARGE)] == [BLOCK + 2, BLOCK + 2, BLOCK + 3]
    assert noise_size(152_064) < 1400


@pytest.mark.trap(44)
@pytest.mark.parametrize("sample", [0, 1])
@pytest.mark.parametrize("kind", KINDS)
def test_tokens_follow_the_softmax(kind, sample):
    """Its likeliest tokens are in the rows of blocks whose noise would be the blocks' own, if bits were used twice."""
    tokens, logprobs = drawn(ZIPF, kind, sample)
    assert pvalue(tokens, ZIPF) > LEAST
    np.testing.assert_allclose(logprobs, (ZIPF - np.logaddexp.reduce(ZIPF))[tokens], rtol=1e-5)


@pytest.mark.trap(44)
@pytest.mark.parametrize("kept", [range(37, 41), range(0, LARGE, 3), [LARGE - 1], range(LARGE - 30, LARGE)])
def test_what_is_cut_is_never_drawn_and_no_id_that_does_not_exist(kept):
    """Tokens of several blocks, all of one block, one token, the last ones."""
    logits = np.where(np.isin(np.arange(LARGE), kept), 0.1 * np.arange(LARGE, dtype=np.float32) % 1, -np.inf)
    tokens, _ = drawn(logits)
    assert set(tokens) == set(kept)
    assert len(kept) == 1 or pvalue(tokens, logits) > LEAST


def test_a_token_that_is_far_less_likely_than_all_others_is_not_drawn():
    logits = np.zeros(LARGE, np.float32)
    logits[::3] = -1e4  # a block that vanishes
    tokens, logprobs = drawn(logits)
    assert (tokens % 3 > 0).all()
    np.testing.assert_allclose(logprobs, -np.log((logits == 0).sum()), rtol=1e-5)


@pytest.mark.parametrize("vocab", [5, BLOCK])
def test_a_vocabulary_of_one_block_has_noise_for_each_token(vocab):
    """Exactly as in earlier versions, so that what their runs sampled can be sampled again."""
    logits = jax.random.normal(jax.random.key(1), (50, vocab))
    noise = jax.random.gumbel(jax.random.key(2), (50, vocab))
    logprobs = jax.nn.log_softmax(logits)
    expected = np.array(logprobs + noise).argmax(-1)
    found, chosen = draw(logits, noise)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(chosen, np.array(logprobs)[np.arange(50), expected])


@pytest.mark.parametrize("vocab", [5, LARGE])
def test_the_likeliest(vocab):
    logits = jax.random.normal(jax.random.key(1), (2, 3, vocab))
    found, chosen = likeliest(logits)
    np.testing.assert_array_equal(found, np.array(logits).argmax(-1))
    np.testing.assert_allclose(chosen, jax.nn.log_softmax(logits).max(-1), rtol=1e-6)


def test_rounding_hardly_ever_changes_a_token():
    """Logits that are off by 1e-6 change three tokens in a million; see docs/performance.md on other ways to draw."""
    zipf = -np.log(np.arange(1, 50_001, dtype=np.float32))
    off = zipf * (1 + 1e-6 * np.random.default_rng(0).normal(size=len(zipf)).astype(np.float32))
    assert (drawn(zipf)[0] != drawn(off)[0]).sum() <= 1


@pytest.mark.trap(44)
def test_the_sampler_draws_from_a_large_vocabulary():
    """Its log-probabilities are the trainer's, and ids without a token are not drawn."""
    policy = dataclasses.replace(make(vocab_size=LARGE), tokens=LARGE - 100)
    params = policy.init(jax.random.key(0))
    rollouts = sampler(policy, group_size=16, noise=antithetic)(params, PROMPTS, COUNTER)
    found = np.array(rollouts.completion_tokens)
    assert 2 * BLOCK < found.max() < policy.tokens
    expected = np.where(valid(rollouts), trainer_logprobs(policy, params, rollouts), 0.0)
    np.testing.assert_allclose(rollouts.logprobs, expected, atol=2e-5)


@pytest.mark.parametrize(("vocab", "noise"), [(2 * BLOCK + 8, common), (4 * BLOCK, antithetic)])
def test_devices_that_share_a_vocabulary_draw_the_same_and_exchange_no_logits(vocab, noise):
    alone = make(vocab_size=vocab)
    params = sharp(alone)
    expected = sampler(alone, group_size=2, noise=noise)(params, PROMPTS, COUNTER)
    mesh = make_mesh(MeshConfig(2, 1, 4))
    cut = dataclasses.replace(alone, mesh=mesh)
    params = params | {"embedding": jax.device_put(params["embedding"], NamedSharding(mesh, jax.P("tensor")))}
    program = sampler(cut, group_size=2, noise=noise).lower(params, PROMPTS, COUNTER).compile()
    found = program(params, PROMPTS, COUNTER)
    np.testing.assert_array_equal(found.completion_tokens, expected.completion_tokens)
    np.testing.assert_allclose(found.logprobs, expected.logprobs, atol=2e-5)
    gathered = re.findall(r"= \w+\[([\d,]+)\]\S* all-gather", program.as_text())
    largest = max(int(axis) for shape in gathered for axis in shape.split(","))
    assert largest < vocab // 4, gathered
