"""The sampler: its log-probabilities are the policy's, and its draws depend on nothing but their counters."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import grpo_jax.sampling.sampler
from grpo_jax.config import SamplingConfig
from grpo_jax.policy import Policy
from grpo_jax.sampling import Counter, Sampler, Stream
from grpo_jax.sampling.noise import antithetic, common
from grpo_jax.types import PromptBatch, StopReason
from tests.policy.test_policy import VARIANTS, VOCABULARY, apply, make, randomised

PLAIN = SamplingConfig(temperature=1.0, top_k=0, top_p=1.0, min_p=0.0)
WIDTH, ROOM = 6, 7  # of prompts and of completions
STOPS = (3, 11)
COUNTER = Counter.of(seed=0, stream=Stream.TRAINING, step=5)

PROMPTS = PromptBatch(
    ids=np.array([40, 7, 2**32 - 1, 12], np.uint32),
    tokens=np.array(jax.random.randint(jax.random.key(9), (4, WIDTH), 0, VOCABULARY)),
    lengths=np.array([6, 1, 4, 3], np.int32),
)


def sharp(policy, seed=0):
    """A policy whose choices matter: with all tokens nearly alike, many mistakes would not show."""
    params = randomised(policy, seed)
    return params | {"embedding": params["embedding"] * 2}


def sampler(policy=None, sampling=PLAIN, group_size=3, stops=STOPS, room=ROOM, pad_token=3, **options):
    return jax.jit(
        Sampler(
            policy or make(),
            sampling,
            group_size=group_size,
            max_new_tokens=room,
            stop_tokens=stops,
            pad_token=pad_token,
            **options,
        ).sample
    )


def take(prompts, rows):
    return jax.tree.map(lambda leaf: leaf[np.array(rows)], prompts)


def trainer_logprobs(policy, params, rollouts, temperature=1.0):
    return jax.jit(lambda p, *x: policy.completion_logprobs(p, *x, temperature=temperature))(
        params, rollouts.prompt_tokens, rollouts.prompt_lengths, rollouts.completion_tokens
    )


def valid(rollouts):
    return np.arange(rollouts.completion_tokens.shape[-1]) < np.array(rollouts.completion_lengths)[..., None]


@pytest.mark.trap(32)
@pytest.mark.trap(19)
@pytest.mark.trap(33)
@pytest.mark.trap(29)
@pytest.mark.parametrize("scan_layers", [False, True])
@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_logprobs_are_the_trainers(scan_layers, temperature):
    """Decoding with a cache that the group shares gives what one forward pass over whole rows gives."""
    policy = make(scan_layers=scan_layers)
    params = policy.init(jax.random.key(4))
    settings = dataclasses.replace(PLAIN, temperature=temperature)
    run = sampler(policy, settings, stops=(3,))
    rollouts = run(params, PROMPTS, COUNTER)
    assert (np.array(rollouts.completion_lengths) > 3).any()
    expected = trainer_logprobs(policy, params, rollouts, temperature)
    np.testing.assert_allclose(rollouts.logprobs, np.where(valid(rollouts), expected, 0.0), atol=2e-5)
    # With other parameters the same program gives other log-probabilities: nothing of the old ones is kept.
    other = jax.tree.map(lambda leaf: leaf * 1.5, params)
    again = run(other, PROMPTS, COUNTER)
    expected = trainer_logprobs(policy, other, again, temperature)
    np.testing.assert_allclose(again.logprobs, np.where(valid(again), expected, 0.0), atol=2e-5)


@pytest.mark.trap(7)
@pytest.mark.parametrize(
    ("name", "scan_layers"), [("mistral", True), ("gemma2", False), ("gemma3", False), ("gemma3", True)]
)
def test_with_sliding_windows_logprobs_are_the_trainers(name, scan_layers):
    """Windows of 3 and 4 tokens slide out of prompts of any length and along completions of 7."""
    policy = make(**VARIANTS[name], scan_layers=scan_layers)
    params = randomised(policy)
    rollouts = sampler(policy, stops=())(params, PROMPTS, COUNTER)
    expected = trainer_logprobs(policy, params, rollouts)
    np.testing.assert_allclose(rollouts.logprobs, expected, atol=5e-5)


def test_greedy_takes_the_likeliest_token():
    policy = make()
    params = sharp(policy)
    rollouts = sampler(policy, dataclasses.replace(PLAIN, temperature=0.0), group_size=1)(params, PROMPTS, COUNTER)
    for row in range(4):
        n, length = PROMPTS.lengths[row], int(rollouts.completion_lengths[row, 0])
        whole = np.concatenate([PROMPTS.tokens[row, :n], rollouts.completion_tokens[row, 0]])
        whole = np.pad(whole, (0, WIDTH + ROOM - len(whole)))  # one shape, one compilation
        likeliest = np.array(apply(policy, params, jnp.array([whole]))[0].argmax(-1))
        np.testing.assert_array_equal(whole[n : n + length], likeliest[n - 1 : n + length - 1])


@pytest.mark.trap(3)
@pytest.mark.parametrize("default", ["threefry2x32", "rbg"])
def test_a_completion_is_the_same_alone_in_any_batch_and_in_any_order(default):
    policy = make()
    with jax.default_prng_impl(default):
        check_a_completion_is_the_same(policy)


def check_a_completion_is_the_same(policy):
    params = sharp(policy)
    together = sampler(policy)(params, PROMPTS, COUNTER)
    reordered = sampler(policy)(params, take(PROMPTS, [2, 0, 3, 1]), COUNTER)
    larger_group = sampler(policy, group_size=5)(params, PROMPTS, COUNTER)
    alone_sampler = sampler(policy, group_size=1)
    for row in range(4):
        for found in (
            jax.tree.map(lambda leaf, row=row: leaf[[2, 0, 3, 1].index(row)], reordered),
            jax.tree.map(lambda leaf, row=row: leaf[row], larger_group),
        ):
            np.testing.assert_array_equal(found.completion_tokens[:3], together.completion_tokens[row])
        alone = alone_sampler(params, take(PROMPTS, [row]), COUNTER)
        np.testing.assert_array_equal(alone.completion_tokens[0, 0], together.completion_tokens[row, 0])
        np.testing.assert_allclose(alone.logprobs[0, 0], together.logprobs[row, 0], atol=1e-5)


@pytest.mark.trap(3)
@pytest.mark.trap(42)
@pytest.mark.parametrize(
    "other",
    [
        Counter.of(0, Stream.TRAINING, 6),
        Counter.of(1, Stream.TRAINING, 5),
        Counter.of(0, Stream.VALIDATION, 5),
        Counter.of(0, Stream.TEST, 5),
    ],
)
def test_another_step_seed_or_stream_draws_anew(other):
    policy = make()
    params = policy.init(jax.random.key(0))
    run = sampler(policy, stops=())
    first, second = run(params, PROMPTS, COUNTER), run(params, PROMPTS, other)
    assert (first.completion_tokens != second.completion_tokens).mean() > 0.5
    within = np.array(first.completion_tokens)
    assert (within[:, 0] != within[:, 1]).mean() > 0.5
    assert (within[..., 1:] != within[..., :-1]).mean() > 0.5  # positions


def test_the_same_counter_draws_the_same():
    policy = make()
    params = policy.init(jax.random.key(0))
    first, second = (sampler(policy)(params, PROMPTS, COUNTER) for _ in range(2))
    jax.tree.map(np.testing.assert_array_equal, first, second)


@pytest.mark.trap(2)
@pytest.mark.trap(4)
@pytest.mark.trap(6)
def test_stop_tokens_end_a_completion_and_belong_to_it():
    policy = make()
    rollouts = sampler(policy, group_size=16)(policy.init(jax.random.key(0)), PROMPTS, COUNTER)
    tokens, lengths = np.array(rollouts.completion_tokens), np.array(rollouts.completion_lengths)
    last_of_the_stopped = set()
    for row, column in np.ndindex(4, 16):
        completion, length = tokens[row, column], lengths[row, column]
        stopped = rollouts.stop_reasons[row, column] == StopReason.STOP
        assert not np.isin(completion[: length - 1], STOPS).any()
        assert stopped == np.isin(completion[length - 1], STOPS)
        assert stopped or length == ROOM
        assert (completion[length:] == 3).all()
        assert (rollouts.logprobs[row, column, length:] == 0).all()
        assert (np.array(rollouts.logprobs[row, column, :length]) < 0).all()
        last_of_the_stopped |= {completion[length - 1]} if stopped else set()
    assert last_of_the_stopped == set(STOPS)
    whole_at_full_length = (lengths == ROOM) & (np.array(rollouts.stop_reasons) == StopReason.STOP)
    assert whole_at_full_length.any(), "a completion may stop at the very last position, and is not truncated then"


@pytest.mark.trap(1)
def test_the_padding_token_may_be_a_stop_token_or_any_other():
    policy = make()
    params = policy.init(jax.random.key(0))
    as_stop = sampler(policy, pad_token=3)(params, PROMPTS, COUNTER)
    as_other = sampler(policy, pad_token=0)(params, PROMPTS, COUNTER)
    for name in ("completion_lengths", "logprobs", "stop_reasons"):
        np.testing.assert_array_equal(getattr(as_stop, name), getattr(as_other, name))


# Every completion of 8 prompts has a lane, or 1 or 5 lanes take turns; of 5 or more, one decodes those that are left.
@pytest.mark.trap(43)
@pytest.mark.parametrize(
    ("group_size", "scan_layers", "options"),
    [
        (1, False, {}),
        (2, False, {"noise": antithetic, "sampling": dataclasses.replace(PLAIN, top_k=9, top_p=0.95, min_p=0.01)}),
        (4, True, {"noise": common}),
    ],
)
def test_a_completion_is_the_same_in_any_lane(monkeypatch, group_size, scan_layers, options):
    monkeypatch.setattr(grpo_jax.sampling.sampler, "NARROWEST", 1)
    policy = make(**VARIANTS["gemma3"], scan_layers=scan_layers)  # with windows of 3 tokens
    params = policy.init(jax.random.key(0))
    prompts = dataclasses.replace(take(PROMPTS, [0, 1, 2, 3] * 2), ids=np.arange(8, dtype=np.uint32) * 7)
    options = {"policy": policy, "group_size": group_size} | options
    whole = sampler(**options, lanes_per_shard=0)(params, prompts, COUNTER)
    assert len(np.unique(whole.completion_lengths)) > 2
    for lanes in (1, 5):
        found = sampler(**options, lanes_per_shard=lanes)(params, prompts, COUNTER)
        for name in ("completion_tokens", "completion_lengths", "stop_reasons"):
            np.testing.assert_array_equal(getattr(found, name), getattr(whole, name), err_msg=f"{name}, {lanes} lanes")
        np.testing.assert_allclose(found.logprobs, whole.logprobs, atol=2e-5)


@pytest.mark.trap(7)
def test_what_stands_behind_a_prompt_is_not_seen():
    policy = make()
    params = sharp(policy)
    dirty = dataclasses.replace(
        PROMPTS, tokens=np.where(np.arange(WIDTH) < PROMPTS.lengths[:, None], PROMPTS.tokens, VOCABULARY - 1)
    )
    wide = dataclasses.replace(PROMPTS, tokens=np.pad(PROMPTS.tokens, ((0, 0), (0, 5))))
    plain = sampler(policy)(params, PROMPTS, COUNTER)
    for other in (dirty, wide):
        found = sampler(policy)(params, other, COUNTER)
        np.testing.assert_array_equal(found.completion_tokens, plain.completion_tokens)
        np.testing.assert_allclose(found.logprobs, plain.logprobs, atol=1e-5)


def test_draws_follow_the_distribution():
    """Each token has its probability's share of 8,000 first tokens, within four standard errors."""
    policy = make()
    params = policy.init(jax.random.key(1))
    one = take(PROMPTS, [0])
    n = 8000
    rollouts = sampler(policy, group_size=n, room=1)(params, one, COUNTER)
    shares = np.bincount(np.array(rollouts.completion_tokens).ravel(), minlength=VOCABULARY) / n
    probabilities = np.array(jax.nn.softmax(policy.apply(params, jnp.asarray(one.tokens))[0, -1]))
    error = np.sqrt(probabilities * (1 - probabilities) / n)
    assert (np.abs(shares - probabilities) < 4 * error).all()


@pytest.mark.trap(21)
def test_with_a_filter_the_logprobs_are_of_the_cut_distribution():
    policy = make()
    params = policy.init(jax.random.key(1))
    cut = sampler(policy, dataclasses.replace(PLAIN, top_k=2), stops=())(params, PROMPTS, COUNTER)
    full = trainer_logprobs(policy, params, cut)
    assert (np.array(cut.logprobs) > np.array(full) + 0.1).mean() > 0.9


class Watched(Policy):
    """A policy that notes which shapes it was asked for, and counts its decode steps."""

    shapes: ClassVar[list] = []
    steps: ClassVar[list] = []

    def hidden_states(self, params, tokens, *arguments, **named):
        Watched.shapes.append(tokens.shape)
        return super().hidden_states(params, tokens, *arguments, **named)

    def logits(self, params, hidden):
        jax.debug.callback(lambda: Watched.steps.append(1))
        return super().logits(params, hidden)


def watched(stops, room=ROOM):
    Watched.shapes, Watched.steps = [], []
    base = make()
    policy = Watched(base.architecture, base.model)
    jax.block_until_ready(sampler(policy, stops=stops, room=room)(base.init(jax.random.key(0)), PROMPTS, COUNTER))
    jax.effects_barrier()
    return Watched.shapes, len(Watched.steps)


def test_a_prompt_is_prefilled_once_for_its_group():
    shapes, _ = watched(stops=())
    # N prompts, then one token of each of N x G completions.
    assert shapes == [(4, WIDTH), (4, 3)]


def test_the_loop_ends_when_all_have_stopped():
    assert watched(stops=())[1] == ROOM
    assert watched(stops=range(VOCABULARY))[1] == 1  # every first token stops: nothing is decoded after the prefill


def test_the_cache_is_left_in_place():
    """The decode loop must not copy what it has cached: its temporary memory grows with one cache, not with two."""
    policy = make()
    params = jax.eval_shape(policy.init, jax.random.key(0))
    room, n, g = 4096, 4, 8
    prompts = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), PROMPTS)
    memory = sampler(policy, group_size=g, room=room).lower(params, prompts, COUNTER).compile().memory_analysis()
    shape = policy.architecture
    cache = 2 * shape.num_layers * n * g * room * shape.num_kv_heads * shape.head_dim * 4
    assert memory.temp_size_in_bytes < 1.9 * cache
