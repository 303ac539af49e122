"""Buckets: each micro-batch is computed at the width of its lengths, and the gradient stays the objective's."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from grpo_jax.config import LoraConfig, MeshConfig
from grpo_jax.objectives import AGGREGATIONS, OBJECTIVES, token_logprobs
from grpo_jax.policy import Policy, trained_of, with_trained
from grpo_jax.processes import put
from grpo_jax.sharding import make_mesh, named
from grpo_jax.training import batching
from grpo_jax.training.arms import make_arm_metrics
from grpo_jax.training.batching import Bucket, buckets, buckets_of, make_minibatches, narrowest
from grpo_jax.training.metrics import results
from grpo_jax.training.update import make_logprobs, make_update
from grpo_jax.types import Groups, Rollouts, StopReason, TrainState
from tests.objectives.helpers import made_of
from tests.policy.full_forward import full_forward
from tests.policy.test_policy import ARCHITECTURE, MODEL, VARIANTS, VOCABULARY, make, norm, randomised

N, P, C = 8, 16, 8
TEMPERATURE = 0.7
PROMPT_LENGTHS = np.array([16, 3, 4, 9, 1, 4, 2, 5], np.int32)
LONGEST = np.array([8, 1, 2, 2, 3, 8, 4, 4])  # completion of each group

# The optimizer's state is the gradient.
RECORDER = optax.GradientTransformation(
    lambda params: jax.tree.map(np.zeros_like, params),
    lambda gradients, state, params: (jax.tree.map(jnp.zeros_like, params), gradients),
)


@pytest.fixture(autouse=True)
def narrow(monkeypatch):
    """Make buckets for tests: prompts of 16 and completions of 8 tokens, then of 4 and 4, and of 4 and 2."""
    monkeypatch.setattr(batching, "SHORTEST", 2)


def wave(shape, height):
    return (height * np.sin(np.arange(np.prod(shape)))).reshape(shape).astype(np.float32)


def rollouts(group_size, prompt_tokens=P):
    rng = np.random.default_rng(0)
    lengths = np.maximum(LONGEST[:, None] - np.arange(group_size), 1).astype(np.int32)
    return Rollouts(
        prompt_tokens=rng.integers(VOCABULARY, size=(N, prompt_tokens), dtype=np.int32),
        prompt_lengths=np.minimum(PROMPT_LENGTHS, prompt_tokens),
        completion_tokens=rng.integers(VOCABULARY, size=(N, group_size, C), dtype=np.int32),
        completion_lengths=lengths,
        logprobs=wave((N, group_size, C), 0.5) - 2.5,
        stop_reasons=np.full((N, group_size), StopReason.STOP),
    )


def advantages_of(group_size):
    signs = np.where(np.arange(N)[:, None] % 3 == 0, 1.0, -1.0) * np.where(np.arange(group_size) % 2, 1.0, -1.0)
    return signs.astype(np.float32)


def batch_of(found, advantages, microbatch_groups, keep=None, aggregation="sequence"):
    (batch,) = make_minibatches(
        found,
        advantages,
        np.ones(N, bool) if keep is None else keep,
        minibatches=1,
        microbatch_groups=microbatch_groups,
        aggregation=AGGREGATIONS[aggregation],
        denominator="sampled",
    )
    groups = dataclasses.replace(batch.groups, reference_logprobs=batch.groups.sampler_logprobs - np.float32(0.1))
    return dataclasses.replace(batch, groups=groups)


@functools.cache
def whole_rows(policy, group_size, prompt_tokens):
    """Return functions of whole rows that all objectives share, so that they are compiled once.

    Returns: params -> log-probabilities, and (params, cotangent of these) -> gradient of what is trained.
    """
    found = rollouts(group_size, prompt_tokens)

    def logprobs(params):
        return full_forward(
            policy, params, found.prompt_tokens, found.prompt_lengths, found.completion_tokens, TEMPERATURE
        )

    @jax.jit
    def gradient(params, cotangent):
        _, pull_back = jax.vjp(lambda trained: logprobs(with_trained(params, trained)), trained_of(params))
        return pull_back(cotangent)[0]

    return jax.jit(logprobs), gradient


def assert_gradient_is_the_objectives(name, policy, mesh=None, microbatch_groups=2, prompt_tokens=P):
    """Against autodiff of the loss of all groups at once, from plain forward passes over whole rows."""
    group_size = OBJECTIVES[name].group_size or 4
    objective, advantages = made_of(name, group_size), advantages_of(group_size)
    found = rollouts(group_size, prompt_tokens)
    params = randomised(policy)
    whole = Groups(
        prompt_tokens=found.prompt_tokens,
        prompt_lengths=found.prompt_lengths,
        completion_tokens=found.completion_tokens,
        completion_lengths=found.completion_lengths,
        advantages=advantages,
        prompt_weights=np.ones(len(advantages), np.float32),
        sampler_logprobs=found.logprobs,
        old_logprobs=None,
        reference_logprobs=found.logprobs - np.float32(0.1),
    )
    whole = jax.tree.map(jnp.asarray, whole)

    @jax.jit
    @jax.grad
    def of_logprobs(logprobs):
        loss = objective.loss(logprobs, whole)
        return loss.total / loss.weight

    logprobs, gradient = whole_rows(policy, group_size, prompt_tokens)
    expected = gradient(params, of_logprobs(logprobs(params)))

    on_mesh = dataclasses.replace(policy, mesh=mesh)
    update = jax.jit(make_update(on_mesh, objective, RECORDER, lambda step: 0.0, TEMPERATURE, chunk=3))
    state = TrainState(params, RECORDER.init(trained_of(params)), jnp.int32(0), jnp.int32(0))
    batch = batch_of(found, advantages, microbatch_groups)
    assert (batch.filled > 0).sum() > 1
    updated, metrics = update(state, put(batch, named(mesh)) if mesh else batch)
    found, expected = jax.device_get((updated.opt_state, expected))
    apart = norm(jax.tree.map(np.subtract, found, expected))
    assert apart < 1e-5 * norm(expected)  # float32 sums in another order differ by up to 3e-6
    assert float(metrics["loss"].weight) == pytest.approx(
        float(objective.aggregation.denominator(whole.completion_lengths).sum())
    )


class Bigrams(Policy):
    """A policy whose logits are a table's row for the token before: it compiles in no time."""

    def init(self, key):
        return {"table": jax.random.normal(key, (self.vocab_size, self.vocab_size))}

    def apply(self, params, tokens):
        return params["table"][tokens]

    def completion_logprobs(self, params, prompts, lengths, completions, *, temperature, chunk):
        last = jnp.take_along_axis(prompts, lengths[:, None] - 1, axis=1)
        before = jnp.concatenate([jnp.repeat(last[:, None], completions.shape[1], axis=1), completions[..., :-1]], -1)
        return token_logprobs(self.apply(params, before), completions, temperature)


BIGRAMS = Bigrams(ARCHITECTURE, MODEL)
DECODED = ("two_grpo", "dr_grpo", "gspo", "online_dpo")  # an objective of each kind


@pytest.mark.trap(13)
@pytest.mark.trap(18)
@pytest.mark.trap(45)
@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_gradient_is_the_objectives(name):
    """In three buckets, because prompts of 7 tokens are not cut."""
    policy = make(num_layers=1, scan_layers=True) if name in DECODED else BIGRAMS
    assert_gradient_is_the_objectives(name, policy, prompt_tokens=7)


LORA = LoraConfig(rank=2, alpha=4.0, modules=("query", "out", "down"))


@pytest.mark.parametrize(
    ("mesh", "microbatch_groups", "changes"),
    [
        (None, 1, {"lora": LORA}),
        (None, 4, VARIANTS["gemma2"] | {"attention": "fused"}),
        ((2, 2, 2), 4, {"remat": "full"}),  # a row for each group
        ((2, 2, 2), 2, VARIANTS["gemma3"] | {"scan_layers": True}),  # a row for half of a group
        ((2, 2, 2), 1, {"lora": LORA, "attention": "fused"}),  # a row for each completion
    ],
)
def test_the_gradient_is_the_objectives_on_any_mesh_for_any_model(mesh, microbatch_groups, changes):
    mesh = mesh and make_mesh(MeshConfig(*mesh))
    assert_gradient_is_the_objectives("dr_grpo", make(**changes), mesh, microbatch_groups)


@pytest.mark.trap(45)
@pytest.mark.parametrize("microbatch_groups", [1, 2, 4])
def test_every_group_is_in_one_micro_batch_whose_bucket_holds_all_its_tokens(microbatch_groups):
    found, keep = rollouts(2), np.arange(N) != 3
    batch = batch_of(found, advantages_of(2), microbatch_groups, keep)
    groups, choice = batch.groups, buckets_of(batch.groups)
    assert len(choice) == len(batch.filled) == 3
    assert batch.filled.sum() == -(-keep.sum() // microbatch_groups)
    for index, bucket in enumerate(np.repeat(np.arange(3), batch.filled)):
        assert groups.prompt_lengths[index].max() <= choice[bucket].prompt
        assert groups.completion_lengths[index].max() <= choice[bucket].completion
    there = groups.completion_lengths.max(-1) > 0
    assert not there[batch.filled.sum() :].any()
    seen = [row.tolist() for row in groups.prompt_tokens[there]]
    assert sorted(seen) == sorted(row.tolist() for row in found.prompt_tokens[keep])


def test_scores_are_those_of_the_full_forward():
    found, policy = rollouts(4), make(num_layers=1)
    params = randomised(policy)
    batch = batch_of(found, advantages_of(4), 2)
    scores = np.array(jax.jit(make_logprobs(policy, TEMPERATURE, 0))(params, batch)).reshape(N, 4, C)
    groups = jax.tree.map(lambda array: array.reshape(N, *array.shape[2:]), batch.groups)
    arrays = groups.prompt_tokens, groups.prompt_lengths, groups.completion_tokens
    expected = jax.jit(lambda params: full_forward(policy, params, *arrays, TEMPERATURE))(params)
    valid = np.arange(C) < groups.completion_lengths[..., None]
    np.testing.assert_allclose(scores[valid], np.array(expected)[valid], atol=1e-5)


def test_the_arms_are_of_all_buckets():
    found, policy, objective = rollouts(4), BIGRAMS, made_of("grpo", 4)
    params, batch = randomised(policy), batch_of(found, advantages_of(4), 2)
    arms = jax.jit(make_arm_metrics(policy, objective, TEMPERATURE, 0))(params, batch)
    update = jax.jit(make_update(policy, objective, RECORDER, lambda step: 0.0, TEMPERATURE, 0))
    _, metrics = update(TrainState(params, RECORDER.init(params), jnp.int32(0), jnp.int32(0)), batch)
    positive, negative, cosine = (float(arms[f"arms/{name}"]) for name in ("positive_norm", "negative_norm", "cosine"))
    squared = positive**2 + negative**2 + 2 * positive * negative * cosine
    assert squared**0.5 == pytest.approx(float(metrics["grad_norm"].total), rel=1e-4)


@pytest.mark.parametrize(("microbatch_groups", "one_bucket", "measured"), [(1, False, 1), (2, True, 1), (2, False, 0)])
def test_the_noise_is_measured_if_micro_batches_are_random_samples(microbatch_groups, one_bucket, measured):
    """Micro-batches of several groups that were sorted by length are none."""
    found, policy, objective = rollouts(2), BIGRAMS, made_of("grpo", 2)
    if one_bucket:
        found = dataclasses.replace(found, completion_lengths=np.full((N, 2), C, np.int32))
        found = dataclasses.replace(found, prompt_lengths=np.full(N, P, np.int32))
    params = randomised(policy)
    update = jax.jit(make_update(policy, objective, RECORDER, lambda step: 0.0, TEMPERATURE, 0))
    state = TrainState(params, RECORDER.init(params), jnp.int32(0), jnp.int32(0))
    _, metrics = update(state, batch_of(found, advantages_of(2), microbatch_groups))
    assert float(metrics["noise/signal"].weight) == float(metrics["noise/variance"].weight) == measured
    assert np.isfinite(results([jax.device_get(metrics)])["loss"])


def test_the_buckets_of_a_run(monkeypatch):
    monkeypatch.undo()
    assert buckets(24, 16) == (Bucket(24, 16),)  # the demo
    assert buckets(48, 63) == (Bucket(48, 63),)
    assert buckets(64, 128) == (Bucket(64, 128), Bucket(64, 64), Bucket(64, 32))
    assert buckets(1023, 3072) == (Bucket(1023, 3072), Bucket(256, 1536), Bucket(256, 768))
    assert buckets(1023, 63) == (Bucket(1023, 63), Bucket(256, 63))


def test_the_narrowest_bucket():
    choice = buckets(P, C)
    found = narrowest(choice, np.array([1, 4, 5, 16, 4, 5]), np.array([1, 3, 2, 8, 8, 4]))
    assert [choice[place] for place in found] == [(4, 2), (4, 4), (16, 8), (16, 8), (16, 8), (16, 8)]
