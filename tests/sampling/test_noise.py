"""Noise: however a group shares it, each completion is the policy's, and what is not shared is independent."""

import dataclasses
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from grpo_jax.data import Split
from grpo_jax.evaluation import sample_and_judge
from grpo_jax.randomness import prompt_keys
from grpo_jax.sampling import NOISES, Counter, Sampler, Stream
from grpo_jax.sampling.noise import gumbel
from grpo_jax.training.experiment import build
from grpo_jax.training.requests import evaluation_request, training_request
from tests.helpers import make_config
from tests.policy.test_policy import make
from tests.sampling.test_sampler import COUNTER, PLAIN, PROMPTS, ROOM, sharp, take

KINDS = sorted(NOISES)
COUPLED = sorted(set(NOISES) - {"independent"})
PROBABILITIES = np.array([0.5, 0.3, 0.15, 0.05])  # of a policy that does not look at its context
PROMPT_IDS, VOCABULARY, SAMPLES, POSITIONS = 20_000, 4, 4, 5
LEAST = 1e-4  # a p-value below this is no accident; the draws are always the same


@cache
def noise(kind, prompts=PROMPT_IDS, samples=SAMPLES, positions=POSITIONS, vocab=VOCABULARY):
    """[prompts, samples, positions, vocab], as the sampler asks for it."""
    of_token = partial(NOISES[kind], size=vocab, room=positions)
    of_completion = jax.vmap(of_token, (None, None, 0))
    of_group = jax.vmap(of_completion, (None, 0, None))
    of_prompts = jax.jit(jax.vmap(of_group, (0, None, None)))
    keys = prompt_keys(COUNTER.key(), jnp.arange(prompts, dtype=jnp.uint32))
    return np.array(of_prompts(keys, jnp.arange(samples), jnp.arange(positions)))


def tokens(kind, probabilities=PROBABILITIES, **sizes):
    return (noise(kind, vocab=len(probabilities), **sizes) + np.log(probabilities, dtype=np.float32)).argmax(-1)


def dependence(first, second):
    """The p-value of two tokens' independence."""
    table = np.zeros((VOCABULARY, VOCABULARY))
    np.add.at(table, (first.ravel(), second.ravel()), 1)
    return stats.chi2_contingency(table).pvalue


def branching_points():
    """[prompts]: the first position at which the group's noise is not the same."""
    found = noise("common")
    return (found == found[:, :1]).all(axis=(1, 3)).sum(axis=1)


def folded(prompt, sample, position):
    key = COUNTER.key()
    for number in (prompt, sample, position):
        key = jax.random.fold_in(key, number)
    return key


def test_independent_noise_is_folded_from_prompt_sample_and_position():
    """Written out: runs of earlier versions can be sampled again, but for tokens that they could hardly draw."""
    found = noise("independent")
    for place in ((0, 0, 0), (7, 3, 2), (19_999, 1, 4)):
        bits = jax.random.bits(folded(*place), (4,), jnp.uint32)
        np.testing.assert_array_equal(found[place], gumbel(bits))
        np.testing.assert_allclose(found[place], jax.random.gumbel(folded(*place), (4,), jnp.float32), atol=2e-6)


def test_random_bits_are_the_same_under_every_version_of_jax():
    bits = jax.random.bits(folded(7, 3, 2), (4,), jnp.uint32)
    assert bits.tolist() == [3189596335, 2457440455, 1852740235, 2831367537]


def test_every_bit_of_u_is_in_the_noise():
    bits = np.array([0, 2**31, 2**32 - 2**20, 2**32 - 3, 2**32 - 1], np.uint32)
    uniforms = (bits + 0.5) / 2**32
    exact = -np.log(-np.log(uniforms))
    np.testing.assert_allclose(gumbel(jnp.asarray(bits))[1:], exact[1:], rtol=1e-6)
    assert gumbel(jnp.asarray(bits))[0] == pytest.approx(-2.8, abs=0.02)  # and no token is drawn by that


@pytest.mark.trap(44)
@pytest.mark.parametrize("sample", [0, 1])
@pytest.mark.parametrize("kind", KINDS)
def test_unlikely_tokens_are_drawn_as_often_as_they_should_be(kind, sample, monkeypatch):
    """20,000 tokens of probability 6.6e-8 each, among others.

    A token is drawn if its noise is above that of all others together, which is Gumbel noise too. So how often it is
    drawn is a sum over all values of its bits, of which all but the 2^17 at the two ends add nothing.
    """
    ends = np.arange(2**16, dtype=np.uint32)
    bits = jnp.asarray(np.concatenate([ends, ~ends]))
    monkeypatch.setattr("grpo_jax.sampling.noise.random_bits", lambda *arguments: bits)
    found = NOISES[kind](COUNTER.key(), jnp.int32(sample), jnp.int32(0), 2**17, 1)
    for probability, precision in ((6.6e-8, 1e-4), (2.0**-30, 0.01), (2.0**-32, 0.05)):
        wins = np.exp(-(1 - probability) / probability * np.exp(-np.array(found, np.float64)))
        drawn = wins.sum() / 2**32
        assert 20_000 * drawn == pytest.approx(20_000 * probability, rel=precision)


@pytest.mark.parametrize("kind", KINDS)
def test_each_completion_is_the_policys(kind):
    """Every token's distribution, and that two tokens of one completion are independent."""
    drawn = tokens(kind)
    for sample in range(SAMPLES):
        for position in range(POSITIONS):
            counts = np.bincount(drawn[:, sample, position], minlength=VOCABULARY)
            assert stats.chisquare(counts, PROBABILITIES * PROMPT_IDS).pvalue > LEAST, (sample, position)
            if position:
                assert dependence(drawn[:, sample, position - 1], drawn[:, sample, position]) > LEAST


@pytest.mark.parametrize("kind", KINDS)
def test_noise_is_gumbels(kind):
    """By the Kolmogorov-Smirnov test, for each completion of the group; entries of the vocabulary do not correlate."""
    found = noise(kind)
    assert np.isfinite(found).all()
    for sample in range(SAMPLES):
        assert stats.kstest(found[:, sample, 2].ravel(), "gumbel_r").pvalue > LEAST
        between = np.corrcoef(found[:, sample, 2].T) - np.eye(VOCABULARY)
        assert np.abs(between).max() < 4 / np.sqrt(PROMPT_IDS)


@pytest.mark.trap(44)
def test_antithetic_noise_is_of_u_and_1_minus_u():
    found = noise("antithetic")
    np.testing.assert_allclose(found[:, ::2], noise("independent")[:, ::2], rtol=1e-6, atol=1e-6)
    uniforms = np.exp(-np.exp(-found.astype(np.float64)))
    np.testing.assert_allclose(uniforms[:, ::2] + uniforms[:, 1::2], 1.0, atol=1e-6)
    assert np.corrcoef(found[:, 0].ravel(), found[:, 1].ravel())[0, 1] < -0.8
    assert abs(np.corrcoef(found[:, 0].ravel(), found[:, 2].ravel())[0, 1]) < 4 / np.sqrt(found[:, 0].size)


def test_antithetic_noise_is_finite_and_mirrored_at_the_ends(monkeypatch):
    ends = jnp.array([0, 1, 2**32 - 2, 2**32 - 1], jnp.uint32)
    monkeypatch.setattr("grpo_jax.sampling.noise.random_bits", lambda *arguments: ends)
    key = COUNTER.key()
    first, second = (NOISES["antithetic"](key, jnp.int32(sample), jnp.int32(0), 4, 1) for sample in (0, 1))
    assert np.isfinite(first).all()
    np.testing.assert_array_equal(second, first[::-1])
    assert first[0] <= first[1] < first[2] < first[3]


def test_antithetic_tokens_agree_less_often():
    drawn = tokens("antithetic")
    agreement = (drawn[:, 0] == drawn[:, 1]).mean()
    assert agreement < (PROBABILITIES**2).sum() - 0.1
    assert dependence(drawn[:, 0], drawn[:, 2]) > LEAST


def test_common_noise_is_shared_before_the_branching_point_and_only_there():
    branching, found = branching_points(), noise("common")
    np.testing.assert_array_equal(found[:, 0], noise("independent")[:, 0])
    assert stats.chisquare(np.bincount(branching, minlength=POSITIONS)).pvalue > LEAST
    assert branching.max() == POSITIONS - 1  # the last token is never shared
    for position in range(POSITIONS):
        shared = (found[:, 1:, position] == found[:, :1, position]).all(axis=(1, 2))
        np.testing.assert_array_equal(shared, position < branching)


def test_common_tokens_are_equal_before_the_branching_point_and_independent_after():
    branching, drawn = branching_points(), tokens("common")
    for position in range(POSITIONS):
        before = drawn[position < branching, :, position]
        assert (before == before[:, :1]).all()
        after = drawn[position >= branching, :, position]
        for one, other in ((0, 1), (1, 2), (0, 3)):
            assert dependence(after[:, one], after[:, other]) > LEAST


def gradient_terms(kind):
    """On a bandit: mean and standard error of grad log pi(o1) r2, of pairs, and the gradient of the mean reward.

    pi is a softmax of three logits with probabilities .5, .3, .2, and the second arm is worth 1. The position is the
    first of two, so half of the groups that share noise share this token.
    """
    probabilities = np.array([0.5, 0.3, 0.2])
    drawn = tokens(kind, probabilities=probabilities, prompts=400_000, samples=2, positions=2)[..., 0]
    scores = np.eye(3)[drawn] - probabilities  # grad log pi
    reward = (drawn == 1).astype(float)
    terms = scores[:, 0] * reward[:, 1:]
    return terms.mean(0), terms.std(0) / np.sqrt(len(terms)), probabilities[1] * (np.eye(3)[1] - probabilities)


def test_a_groups_baseline_is_unbiased_with_independent_noise_only():
    """E[grad log pi(o1) (r1 - r2)] is the gradient minus the mean of grad log pi(o1) r2: the bias."""
    mean, error, gradient = gradient_terms("independent")
    assert (np.abs(mean) < 4 * error).all()
    mean, error, _ = gradient_terms("antithetic")
    assert (np.abs(mean) > 20 * error).any()
    assert mean @ gradient / (gradient @ gradient) < -0.2  # the gradient comes out longer
    mean, error, _ = gradient_terms("common")
    assert (np.abs(mean - gradient / 2) < 4 * error).all()  # half of the pairs learn nothing from this token


def sampler(kind, group_size=4, sampling=PLAIN, **changes):
    arguments = {"max_new_tokens": ROOM, "stop_tokens": (), "noise": NOISES[kind], **changes}
    return jax.jit(Sampler(make(), sampling, group_size=group_size, **arguments).sample)


@pytest.mark.parametrize("kind", KINDS)
def test_a_group_is_the_same_alone_in_any_batch_and_again(kind):
    params = sharp(make())
    run = sampler(kind)
    together = run(params, PROMPTS, COUNTER)
    jax.tree.map(np.testing.assert_array_equal, together, sampler(kind)(params, PROMPTS, COUNTER))
    reordered = run(params, take(PROMPTS, [2, 0, 3, 1]), COUNTER)
    np.testing.assert_array_equal(reordered.completion_tokens, together.completion_tokens[np.array([2, 0, 3, 1])])
    larger = sampler(kind, group_size=6)(params, PROMPTS, COUNTER)
    np.testing.assert_array_equal(larger.completion_tokens[:, :4], together.completion_tokens)
    for row in range(4):
        alone = run(params, take(PROMPTS, [row]), COUNTER)
        np.testing.assert_array_equal(alone.completion_tokens[0], together.completion_tokens[row])
    other = run(params, PROMPTS, Counter.of(seed=0, stream=Stream.TRAINING, step=6))
    assert (other.completion_tokens != together.completion_tokens).mean() > 0.3


@pytest.mark.parametrize("kind", COUPLED)
def test_a_coupled_groups_first_completion_is_the_independent_one_and_others_are_not(kind):
    params = sharp(make())
    found, independent = (sampler(each)(params, PROMPTS, COUNTER).completion_tokens for each in (kind, "independent"))
    np.testing.assert_array_equal(found[:, 0], independent[:, 0])
    assert (found != independent).any()


def sampled(config, devices, request):
    """Host arrays of a fresh policy's rollouts, as one of a run's requests asks for them."""
    made = build(config, devices)
    made.engine.load(made.programs.sampling_weights(made.programs.init_params(jax.random.key(3))), version=0)
    return sample_and_judge(made.engine, made.task, made.task.problems(Split.TRAIN, 8), request).rollouts


def test_the_sampler_branches_each_group_once():
    """The completions of a group agree up to a point, which differs from prompt to prompt."""
    params = make().init(jax.random.key(0))
    many = dataclasses.replace(
        jax.tree.map(lambda leaf: np.repeat(leaf[:1], 64, axis=0), PROMPTS), ids=np.arange(64, dtype=np.uint32)
    )
    found = np.array(sampler("common")(params, many, COUNTER).completion_tokens)
    agree = (found == found[:, :1]).all(axis=1)  # [prompts, positions]
    prefix = np.cumprod(agree, axis=1).sum(axis=1)
    keys = prompt_keys(COUNTER.key(), jnp.asarray(many.ids))
    draw = jax.vmap(lambda key: jax.random.randint(jax.random.fold_in(key, 2**32 - 1), (), 0, ROOM))
    branching = np.array(draw(keys))
    assert (prefix >= branching).all()
    assert (prefix == branching).mean() > 0.9  # four tokens of 37 seldom agree by accident
    assert set(branching) == set(range(ROOM))


@pytest.mark.parametrize("kind", COUPLED)
def test_greedy_knows_no_noise(kind):
    params = sharp(make())
    greedy = dataclasses.replace(PLAIN, temperature=0.0)
    found, expected = (sampler(each, 2, greedy)(params, PROMPTS, COUNTER) for each in (kind, "independent"))
    jax.tree.map(np.testing.assert_array_equal, found, expected)


@pytest.mark.parametrize("kind", COUPLED)
def test_eight_devices_sample_what_one_samples(kind):
    config = make_config(rollout__noise=kind, rollout__group_size=4, objective__name="grpo")
    found = [sampled(config, devices, training_request(config, 1)) for devices in (jax.devices()[:1], jax.devices())]
    np.testing.assert_array_equal(found[0].completion_tokens, found[1].completion_tokens)


def test_evaluation_is_always_independent():
    configs = [make_config(rollout__noise=kind) for kind in ("independent", "antithetic")]
    for request, same in (
        (partial(evaluation_request, split=Split.TEST), True),
        (partial(evaluation_request, split=Split.VALIDATION), True),
        (partial(training_request, step=1), False),
    ):
        independent, coupled = (
            sampled(config, jax.devices()[:1], request(config)).completion_tokens for config in configs
        )
        assert (independent == coupled).all() == same


def test_no_two_streams_share_a_key_and_none_has_that_of_a_layer():
    """A layer of fresh parameters has the key of seed, 1 and the layer's number: see `Decoder`."""
    keys = [
        tuple(jax.random.key_data(Counter.of(seed, stream, step).key()).tolist())
        for seed in range(3)
        for stream in Stream
        for step in range(3)
    ]
    assert len(set(keys)) == len(keys)
    adapters = Counter.of(0, Stream.ADAPTERS, 0).key()
    layers = jax.random.split(jax.random.fold_in(adapters, 1), 3)
    assert not {tuple(jax.random.key_data(layer).tolist()) for layer in layers} & set(keys)
