"""Continuous batching: lanes pass from batch to batch, and no completion, and no lane, notices."""

import dataclasses
import heapq
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import grpo_jax.sampling.sampler
from grpo_jax.config import SamplingConfig
from grpo_jax.sampling import Counter, Sampler, Stream, automatic_lanes
from grpo_jax.sampling.jax_engine import in_batches
from grpo_jax.sampling.lane_counts import SHORTEST_ROOM, batches_in_flight, cached_tokens
from grpo_jax.sampling.noise import antithetic, common
from grpo_jax.types import PromptBatch
from tests.policy.test_policy import VARIANTS, VOCABULARY, make

PLAIN = SamplingConfig(temperature=1.0, top_k=0, top_p=1.0, min_p=0.0)
FILTERED = dataclasses.replace(PLAIN, temperature=0.9, top_k=9, top_p=0.95, min_p=0.01)
COUNTER = Counter.of(seed=0, stream=Stream.TRAINING, step=5)
PROMPTS = PromptBatch(
    ids=np.arange(12, dtype=np.uint32) * 7,
    tokens=np.array(jax.random.randint(jax.random.key(9), (12, 6), 0, VOCABULARY)),
    lengths=np.array([6, 1, 4, 3, 2, 6, 5, 5, 1, 3, 4, 2], np.int32),
)
SETTINGS = {"group_size": 2, "max_new_tokens": 9, "stop_tokens": (3, 5, 11), "pad_token": 3}


def take(tree, rows):
    return jax.tree.map(lambda leaf: leaf[np.array(rows)], tree)


def at_once(policy, params, sampling=PLAIN, **changes):
    """The reference: all prompts decoded together."""
    return jax.device_get(jax.jit(Sampler(policy, sampling, **SETTINGS | changes).sample)(params, PROMPTS, COUNTER))


def in_turn(policy, params, batches, lanes, in_flight, sampling=PLAIN, **changes):
    """The rollouts of batches of places, put in the order of the places, and the steps after each batch."""
    made = Sampler(policy, sampling, lanes_per_shard=lanes, in_flight=in_flight, **SETTINGS | changes)
    feed = jax.jit(made.feed, donate_argnums=1)
    state, found, steps = jax.jit(made.empty)(params, take(PROMPTS, batches[0]), COUNTER), [], []
    for fed, batch in enumerate(batches, start=1):
        state, oldest = feed(params, state, take(PROMPTS, batch), COUNTER, np.bool_(fed == len(batches)))
        if in_flight <= fed < len(batches):
            found.append(jax.device_get(oldest))
        steps.append(int(state.step))
    found += jax.device_get(jax.jit(made.finish)(params, state))
    whole = jax.tree.map(lambda *leaves: np.concatenate(leaves), *found)
    return take(whole, np.argsort(np.concatenate(batches))), steps


@pytest.mark.trap(43)
@pytest.mark.parametrize(
    ("changes", "lanes", "in_flight", "batches"),
    [
        ({"group_size": 1}, 3, 2, [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]),
        ({"sampling": FILTERED, "noise": antithetic}, 5, 1, [[11, 3, 8, 1, 10, 0], [7, 9, 2, 6, 5, 4]]),
        ({"noise": common, "stop_tokens": (7,)}, 9, 3, [[9, 4, 1], [0, 2, 3], [5, 6, 7], [8, 10, 11]]),
        ({"group_size": 16}, 8, 2, [[0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 10, 11]]),
    ],
)
def test_a_completion_is_the_same_in_any_lane_batch_and_order(monkeypatch, changes, lanes, in_flight, batches):
    """Eight lanes or more are followed by a narrower loop."""
    monkeypatch.setattr(grpo_jax.sampling.sampler, "NARROWEST", 2)
    policy = make(**VARIANTS["gemma3"], scan_layers=lanes == 5)  # with windows of 3 tokens
    params = policy.init(jax.random.key(0))
    whole = at_once(policy, params, **changes)
    assert len(np.unique(whole.completion_lengths)) > 2
    found, _ = in_turn(policy, params, batches, lanes, in_flight, **changes)
    for name in ("prompt_tokens", "prompt_lengths", "completion_tokens", "completion_lengths", "stop_reasons"):
        np.testing.assert_array_equal(getattr(found, name), getattr(whole, name), err_msg=name)
    np.testing.assert_allclose(found.logprobs, whole.logprobs, atol=2e-5)


def scheduled(lengths, lanes):
    """The steps of lanes that take completions in turn. A completion's first token needs no step."""
    free = [0] * lanes
    for length in lengths:
        if length > 1:
            heapq.heapreplace(free, free[0] + length - 1)
    return max(free)


def test_no_lane_waits_while_a_completion_waits():
    """Within a batch, and between batches if enough of them are in flight, but for a step when one ends."""
    policy = make()
    params = policy.init(jax.random.key(0))
    lengths = at_once(policy, params).completion_lengths.ravel()
    everything = list(range(12))
    assert in_turn(policy, params, [everything], 5, 1)[1][-1] == scheduled(lengths, 5)
    batches = [everything[first : first + 3] for first in (0, 3, 6, 9)]
    assert in_turn(policy, params, batches, 4, 4)[1][-1] <= scheduled(lengths, 4) + 3
    assert in_turn(policy, params, batches, 4, 1)[1][-1] > scheduled(lengths, 4) + 3


def test_a_prompt_without_tokens_takes_no_step():
    policy = make()
    params = policy.init(jax.random.key(0))
    made = Sampler(policy, PLAIN, lanes_per_shard=2, **SETTINGS)
    filled = dataclasses.replace(take(PROMPTS, [0, 0, 0]), lengths=np.array([6, 0, 0], np.int32))
    state = jax.jit(made.empty)(params, filled, COUNTER)
    state, _ = jax.jit(made.feed)(params, state, filled, COUNTER, np.bool_(True))
    lengths = np.array(jax.jit(made.finish)(params, state)[0].completion_lengths)
    assert state.step == lengths[0].max() - 1


def test_the_prefill_of_a_batch_is_traced_once(monkeypatch):
    """A prefill takes long to trace, and both `empty` and `feed` need it."""
    traced, prefill = [], Sampler.prefill
    monkeypatch.setattr(Sampler, "prefill", lambda *arguments: traced.append(arguments) or prefill(*arguments))
    policy = make()
    jax.eval_shape(Sampler(policy, PLAIN, lanes_per_shard=2, **SETTINGS).sample, policy.shapes(), PROMPTS, COUNTER)
    assert len(traced) == 1


def test_the_state_is_left_in_place():
    """A batch takes over its predecessor's cache, and the decode loop does not copy it."""
    policy = make()
    params = policy.init(jax.random.key(0))
    made = Sampler(policy, PLAIN, lanes_per_shard=8, **SETTINGS | {"max_new_tokens": 4096})
    state = jax.jit(made.empty)(params, PROMPTS, COUNTER)
    feed = jax.jit(made.feed, donate_argnums=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # JAX warns of donated arrays that no result can use
        memory = feed.lower(params, state, PROMPTS, COUNTER, jnp.array(True)).compile().memory_analysis()
    shape = policy.architecture
    cache = 2 * shape.num_layers * 8 * 4096 * shape.num_kv_heads * shape.head_dim * 4
    assert memory.alias_size_in_bytes > cache
    assert memory.temp_size_in_bytes < 0.5 * cache


SMALL = {"accelerated": False, "parameters": 10**5, "cached_per_token": 200}
SEVEN_BILLION = {"accelerated": True, "parameters": 76 * 10**8, "cached_per_token": 2 * 28 * 4 * 128}


def test_the_automatic_number_of_lanes():
    short = {"prompt_tokens": 24, "room": 16}  # the demo
    assert automatic_lanes(8192, 1024, **short, **SMALL) == 0
    assert automatic_lanes(24, 24, **short | {"room": SHORTEST_ROOM}, **SMALL) == 0  # too few of them
    many = [automatic_lanes(completions, 512, prompt_tokens=64, room=256, **SMALL) for completions in (512, 2048, 8192)]
    assert 8 <= many[0] <= many[1] <= many[2] < 512
    assert all(lanes % 8 == 0 for lanes in many)


def test_automatic_lanes_need_no_larger_cache_than_whole_batches():
    for batch, prompt_tokens, room in ((8, 1024, 3072), (256, 4096, 64), (32, 1024, 3072)):
        lanes = automatic_lanes(1024, batch, prompt_tokens=prompt_tokens, room=room, **SEVEN_BILLION)
        sizes = {"prompts": batch // 2, "group_size": 2, "prompt_tokens": prompt_tokens, "room": room}
        assert cached_tokens(lanes, **sizes) <= cached_tokens(0, **sizes)
    assert lanes


def test_lanes_are_fewer_if_the_weights_take_less_time_to_read():
    """In half of the bytes, a lane costs twice as much beside them; the best number goes with the root."""
    sizes = {"prompt_tokens": 1024, "room": 3072, **SEVEN_BILLION}
    assert [automatic_lanes(1024, 512, **sizes, compressed=share) for share in (1.0, 0.5, 0.25)] == [112, 80, 56]


def test_as_many_batches_are_in_flight_as_lanes_need():
    assert batches_in_flight(lanes=32, batch=64, batches=1) == 1
    assert batches_in_flight(lanes=32, batch=64, batches=9) == 3
    assert batches_in_flight(lanes=32, batch=1024, batches=9) == 2


def test_the_longest_come_first_and_every_shard_gets_its_share():
    expected = np.array([3.0, 9.0, 1.0, 7.0, 5.0, 8.0, 2.0])
    batches = in_batches(7, 4, 2, expected)
    assert [batch.tolist() for batch in batches] == [[1, 3, 5, 4], [0, 2, 6, -1]]
    assert [batch.tolist() for batch in in_batches(5, 4, 1, None)] == [[0, 1, 2, 3], [4, -1, -1, -1]]
