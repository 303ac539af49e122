"""Exact speculation: drafts change how long sampling takes, and nothing else."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import grpo_jax.sampling.sampler
from grpo_jax.config import MeshConfig
from grpo_jax.processes import put
from grpo_jax.sampling import EarlierCompletions, JaxEngine, Sampler, SamplingPrograms, SamplingRequest, jax_engine
from grpo_jax.sampling.lanes import CompletionArrays, Lanes, Units
from grpo_jax.sampling.noise import antithetic, common
from grpo_jax.sampling.speculation import NOTHING, kept, look_up, texts
from grpo_jax.sharding import make_mesh, named
from grpo_jax.types import PromptBatch
from tests.policy.test_policy import VARIANTS, VOCABULARY, make
from tests.sampling.test_continuous import COUNTER, FILTERED, PLAIN, PROMPTS, take

SETTINGS = {"max_new_tokens": 13, "stop_tokens": (3, 5), "pad_token": 3}
EIGHT = take(PROMPTS, range(8))


@pytest.mark.trap(46)
@pytest.mark.parametrize(
    ("group_size", "lanes", "drafts", "sampling", "noise", "on_mesh"),
    [(2, 4, 4, FILTERED, antithetic, True), (16, 8, 3, PLAIN, common, False)],
)
def test_completions_are_the_same_for_any_drafts(monkeypatch, group_size, lanes, drafts, sampling, noise, on_mesh):
    """With wrong drafts, with none, and with the completions themselves, which take far fewer steps."""
    monkeypatch.setattr(grpo_jax.sampling.sampler, "NARROWEST", 2)
    mesh = make_mesh(MeshConfig(data=2, fsdp=2, tensor=2)) if on_mesh else None
    one = make(**VARIANTS["gemma3"], scan_layers=True)  # with windows of 3 tokens
    params = jax.device_get(one.init(jax.random.key(0)))
    settings = SETTINGS | {"group_size": group_size, "noise": noise}
    plain = jax.device_get(jax.jit(Sampler(one, sampling, **settings).sample)(params, EIGHT, COUNTER))
    assert len(np.unique(plain.completion_lengths)) > 2
    policy = dataclasses.replace(one, mesh=mesh)
    made = Sampler(policy, sampling, lanes_per_shard=lanes // (4 if on_mesh else 1), drafts=drafts, **settings)
    empty, feed, finish = jax.jit(made.empty), jax.jit(made.feed), jax.jit(made.finish)
    itself = EarlierCompletions(SETTINGS["max_new_tokens"])
    itself.remember(EIGHT.ids, plain.completion_tokens, plain.completion_lengths)
    right = itself.of(EIGHT.ids, group_size)
    steps = []
    for earlier in (right, (right + 1) % VOCABULARY, np.full_like(right, NOTHING)):
        state = empty(params, EIGHT, COUNTER, earlier)
        state, _ = feed(params, state, EIGHT, COUNTER, np.bool_(True), earlier)
        (found,) = jax.device_get(finish(params, state))
        for name in ("completion_tokens", "completion_lengths", "stop_reasons"):
            np.testing.assert_array_equal(getattr(found, name), getattr(plain, name), err_msg=name)
        np.testing.assert_allclose(found.logprobs, plain.logprobs, atol=5e-5)
        steps.append(int(state.step))
    assert steps[0] < 0.7 * min(steps[1:])


@pytest.mark.trap(46)
def test_the_engine_drafts_from_the_visit_before(monkeypatch):
    """Three batches, the last one filled up. A first visit, such as a replay, has no earlier completions."""
    mesh = make_mesh(MeshConfig(), jax.devices()[:1])
    policy, at_once = dataclasses.replace(make(), mesh=mesh), 3
    params = jax.device_get(policy.init(jax.random.key(0)))
    settings = SETTINGS | {"group_size": 1}
    plain = jax.device_get(jax.jit(Sampler(policy, PLAIN, **settings).sample)(params, EIGHT, COUNTER))
    given, placed = [], []
    monkeypatch.setattr(jax_engine, "put", lambda tree, to: placed.append(tree) or put(tree, to))

    @functools.cache
    def continuous(sampling, group_size, noise, lanes, in_flight):
        made = Sampler(policy, sampling, lanes_per_shard=lanes, in_flight=in_flight, drafts=2, **settings)
        feed = jax.jit(made.feed)

        def watched(*arguments):
            given.append(np.array(arguments[-1]))
            return feed(*arguments)

        return jax.jit(made.empty), watched, jax.jit(made.finish)

    engine = JaxEngine(
        SamplingPrograms(lambda *_: at_once, whole=pytest.fail, continuous=continuous),  # all are sampled in lanes
        vocab_size=VOCABULARY,
        batch=named(mesh, "batch"),
        replicated=named(mesh),
        earlier=EarlierCompletions(SETTINGS["max_new_tokens"]),
    )
    engine.load(params, 0)
    request = SamplingRequest(sampling=PLAIN, group_size=1, counter=COUNTER, prompts_per_batch=at_once)
    for visit in range(2):
        for places, rollouts, _ in engine.sample(EIGHT, request):
            np.testing.assert_array_equal(rollouts.completion_tokens, plain.completion_tokens[places])
            np.testing.assert_array_equal(rollouts.completion_lengths, plain.completion_lengths[places])
        lengths = (np.concatenate(given[3 * visit :]) != NOTHING).sum(axis=-1)
        np.testing.assert_array_equal(lengths[:8], visit * plain.completion_lengths)
    assert sum(isinstance(tree, tuple) for tree in placed) == 2 * 3  # each batch is placed once


def test_drafts_follow_the_place_that_is_most_like_the_end():
    """The texts are a prompt of two tokens and an earlier completion. Token 0 stands for "nothing follows"."""
    end = [NOTHING, NOTHING]
    text, completion, newest, expected = zip(
        ([7, 8, 2, 8, 9, 1, 8, 5, *end], [1, 8, 0, 0, 0, 0], 1, [5, 0, 0]),  # two tokens alike, not one
        ([4, 6, 4, 7, 9, 2, 4, 1, *end], [4, 0, 0, 0, 0, 0], 0, [7, 9, 2]),  # they may begin in the prompt
        ([7, 8, 2, 6, 2, 5, 2, 9, *end], [1, 2, 0, 0, 0, 0], 1, [9, 0, 0]),  # the last of equal places
        ([7, 8, 5, 5, 5, 5, 5, 5, *end], [1, 2, 3, 1, 2, 0], 4, [3, 1, 2]),  # the completion repeats itself
        ([7, 8, 5, 5, 5, 5, 5, 5, *end], [4, 4, 0, 9, 9, 9], 1, [4, 4, 4]),  # behind the newest token there is no text
        strict=True,
    )
    at, tokens = jnp.arange(5), jnp.array(completion)[:, None]
    work = Units(
        prompt=at,
        prompt_length=0 * at + 2,
        key=jax.random.split(jax.random.key(0), 5),
        sample=at[:, None],
        newest=at[:, None],
        stopped=at[:, None] < 0,
        text=jnp.array(text),
    )
    lanes = Lanes(slot=0 * at, unit=at, age=jnp.array(newest), read=at, work=work)
    completions = CompletionArrays(tokens=tokens[None], logprobs=tokens[None] * 0.0, lengths=tokens[None, ..., 0])
    np.testing.assert_array_equal(jax.jit(look_up, static_argnums=2)(lanes, completions, 3), expected)


def test_choices_are_kept_up_to_the_first_wrong_draft_or_the_end():
    drafts = np.array([[4, 5, 6], [4, 9, 6], [9, 5, 6], [4, 5, 6]])
    chosen = np.array([[4, 5, 6, 7]] * 4)
    ends = np.array([[False] * 4] * 3 + [[False, True, False, False]])
    np.testing.assert_array_equal(np.array(jax.jit(kept)(drafts, chosen, ends)).sum(axis=1), [4, 2, 1, 2])


def test_a_text_is_the_prompt_and_the_earlier_completion_of_the_same_place():
    prompts = PromptBatch(ids=np.array([7, 9], np.uint32), tokens=np.array([[1, 2], [3, 0]]), lengths=np.array([2, 1]))
    earlier = EarlierCompletions(2)
    earlier.remember(prompts.ids[1:], np.array([[[4, 5], [6, 3]]]), np.array([[2, 1]]))
    known = earlier.of(prompts.ids, 3)
    none = [NOTHING, NOTHING]
    np.testing.assert_array_equal(known, [[none] * 3, [[4, 5], [6, NOTHING], none]])
    found = np.array(jax.jit(texts)(prompts, known[:, :2]))
    end = [NOTHING, NOTHING]
    np.testing.assert_array_equal(
        found, [[1, 2, NOTHING, *end], [1, 2, NOTHING, *end], [3, 4, 5, *end], [3, 6, NOTHING, *end]]
    )
