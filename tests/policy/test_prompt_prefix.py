"""Prompts that begin alike: their prefix is read once for all rows, and every number is what it is without that."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from grpo_jax.config import LoraConfig, MeshConfig, SamplingConfig
from grpo_jax.sampling import Counter, Sampler, Stream
from grpo_jax.sharding import batch_shards, make_mesh
from grpo_jax.types import PromptBatch
from tests.policy.test_policy import VARIANTS, initial, make, randomised, tokens

PREFIX = (5, 2, 9, 9)
WIDTH, ROOM, GROUP = 7, 6, 2
LENGTHS = np.array([7, 5, 6, 5, 7, 6, 5, 7], np.int32)
COUNTER = Counter.of(seed=0, stream=Stream.TRAINING, step=5)


def prompts(number=8):
    rows = np.array(tokens((number, WIDTH)))
    rows[:, : len(PREFIX)] = PREFIX
    return PromptBatch(ids=np.arange(number, dtype=np.uint32), tokens=rows, lengths=LENGTHS[:number].copy())


def sharing(policy, **changes):
    return dataclasses.replace(policy, prompt_prefix=PREFIX, **changes)


@partial(jax.jit, static_argnums=0)
def scored(policy, params, batch, completions):
    """The log-probabilities, and the gradient of a weighting of them."""

    def loss(params):
        found = policy.completion_logprobs(params, batch.tokens, batch.lengths, completions, temperature=0.7)
        return (found * jnp.cos(jnp.arange(found.size)).reshape(found.shape)).sum(), found

    gradient, found = jax.grad(loss, has_aux=True)(params)
    return found, gradient


def check(found, expected, atol):
    jax.tree.map(partial(np.testing.assert_allclose, atol=atol), jax.device_get(found), jax.device_get(expected))


MODELS = {
    **{name: VARIANTS[name] for name in ("qwen3", "gemma2", "gemma3")},
    "scanned": VARIANTS["gemma3"] | {"scan_layers": True, "remat": "full"},
    "adapters": {"lora": LoraConfig(rank=2)},
}


@pytest.mark.trap(45)
@pytest.mark.parametrize("name", MODELS)
def test_logprobs_and_gradients(name):
    policy = make(**MODELS[name])
    params, completions = randomised(policy), tokens((len(LENGTHS), GROUP, ROOM), seed=3)
    expected = scored(policy, params, prompts(), completions)
    check(scored(sharing(policy), params, prompts(), completions), expected, atol=2e-4)


def test_work_is_shared(monkeypatch):
    """Each row of the decoder is counted: a prefix for all prompts, and the rest of each."""
    policy, read = make(), []
    inner = type(policy).hidden_states

    def counting(self, params, tokens, *arguments, **options):
        read.append(tokens.shape)
        return inner(self, params, tokens, *arguments, **options)

    monkeypatch.setattr(type(policy), "hidden_states", counting)
    of_prefix, rest = len(PREFIX), WIDTH - len(PREFIX)
    shapes, completions = policy.shapes(), tokens((len(LENGTHS), GROUP, ROOM))
    jax.eval_shape(sharing(policy).prefill, shapes, prompts().tokens, LENGTHS)
    assert read == [(1, of_prefix), (8, rest)]
    read.clear()
    jax.eval_shape(sharing(policy).completion_logprobs, shapes, prompts().tokens, LENGTHS, completions)
    assert read == [(1, of_prefix), (8, rest + GROUP * (ROOM - 1))]
    read.clear()
    jax.eval_shape(sharing(policy).prefill, shapes, prompts(1).tokens, LENGTHS[:1])
    assert read == [(1, WIDTH)]  # one row has nothing to share with


def test_a_bucket_narrower_than_the_prefix_has_a_program():
    policy, narrow = make(), np.zeros((4, len(PREFIX) - 1), np.int32)
    found, gradient = scored(
        sharing(policy), initial(policy), PromptBatch(np.arange(4), narrow, np.ones(4, np.int32)), tokens((4, 2, 3))
    )
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((found, gradient)))


def test_rows_that_fill_a_micro_batch_have_finite_gradients():
    """They have a prompt of zeros and length 1, and lengths of 0 in the sampler."""
    policy, batch = make(), prompts(4)
    batch.tokens[2:], batch.lengths[2:] = 0, 1
    found, gradient = scored(sharing(policy), initial(policy), batch, tokens((4, 2, 3)))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((found, gradient)))


@pytest.mark.parametrize("mesh", [(2, 1, 1), (2, 2, 2), (1, 8, 1)])
def test_on_a_mesh(mesh):
    shape = MeshConfig(*mesh)
    policy, made = make(), make_mesh(shape, jax.devices()[: int(np.prod(mesh))])
    params, completions = randomised(policy), tokens((len(LENGTHS), GROUP, ROOM), seed=3)
    expected = scored(policy, params, prompts(), completions)
    check(scored(sharing(policy, mesh=made), params, prompts(), completions), expected, atol=2e-4)
    if batch_shards(made) == 2:  # micro-batches whose rows no shard shares equally have one prefix
        expected = scored(policy, params, prompts(3), completions[:3, :1])
        check(scored(sharing(policy, mesh=made), params, prompts(3), completions[:3, :1]), expected, atol=2e-4)


@pytest.mark.trap(45)
@pytest.mark.parametrize(
    ("model", "mesh", "options"),
    [
        ({}, None, {}),
        (VARIANTS["gemma3"] | {"scan_layers": True}, (2, 2, 2), {"lanes_per_shard": 3}),
        (VARIANTS["gemma2"], None, {"lanes_per_shard": 16, "drafts": 2}),
    ],
)
def test_the_sampler_samples_the_same_tokens(model, mesh, options):
    policy = make(**model)
    params = randomised(policy)
    batch = prompts()
    batch.lengths[5] = 0  # it fills the batch
    earlier = [np.zeros((len(LENGTHS), GROUP, ROOM), np.int32)] * ("drafts" in options)

    def sampled(policy):
        whole = Sampler(
            policy, SamplingConfig(), group_size=GROUP, max_new_tokens=ROOM, stop_tokens=(3, 11), **options
        ).sample
        rollouts = jax.device_get(jax.jit(whole)(params, batch, COUNTER, *earlier))
        return jax.tree.map(lambda leaf: np.delete(leaf, 5, axis=0), rollouts)

    found, expected = sampled(sharing(policy, mesh=mesh and make_mesh(MeshConfig(*mesh)))), sampled(policy)
    np.testing.assert_array_equal(found.completion_tokens, expected.completion_tokens)
    check(found, expected, atol=1e-4)
