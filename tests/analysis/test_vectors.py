"""On-policy, the vectors of rollouts combine to the gradient of every objective."""

import dataclasses
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from grpo_jax.analysis.sketch import flat, sketches
from grpo_jax.analysis.vectors import as_rows, make_gradients, rollout_vectors, rows_at_once
from grpo_jax.objectives import AGGREGATIONS
from grpo_jax.sharding import named
from grpo_jax.training import batching
from grpo_jax.training.abstract_inputs import abstract_state
from grpo_jax.training.batching import buckets_of
from grpo_jax.training.experiment import build
from grpo_jax.training.update import group_logprobs, microbatch
from grpo_jax.types import Rollouts
from tests.helpers import make_config
from tests.training.test_update import batches_of, experiment, rollouts

GIB = 2.0**30


@cache
def vectors(group_size):
    params, found, _ = rollouts(group_size)
    return rollout_vectors(experiment(), params, found, size=None, memory=GIB)


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("two_grpo", 2), ("n_vs_m", 4), ("grpo", 4), ("dapo", 4), ("dr_grpo", 4), ("rloo", 2), ("gspo", 4),
        ("cispo", 4), ("sapo", 4), ("reinforce_pp", 4),
    ],
)  # fmt: skip
def test_they_add_up_to_the_gradient_of_the_objective(name, size):
    """Minus the sum of advantage x token weight x vector is the gradient of the training loss."""
    params, found, advantages = rollouts(size)
    made = experiment(rollout__group_size=size, objective__name=name, train__microbatch_groups=8)
    (batch,) = batches_of(made, found, advantages, keep=np.ones(8, bool))
    groups, (bucket,) = microbatch(batch, jnp.int32(0)), buckets_of(batch.groups)

    @jax.jit
    @jax.grad
    def gradient(params):
        return made.programs.objective.loss(
            group_logprobs(made.programs.adapted, params, groups, bucket, 1.0, 0), groups
        ).total

    weight = made.programs.objective.aggregation.weight(found.completion_lengths, found.completion_tokens.shape[-1])
    coefficients = -advantages * weight
    whole = np.asarray(flat(gradient(params)))
    assert np.abs(whole).max() > 0.01
    together = np.einsum("qk,qkd->d", coefficients, vectors(size))
    np.testing.assert_allclose(together, whole, atol=1e-4 * np.abs(whole).max())


def test_vectors_of_all_completions_have_no_mean():
    """sum pi(o) grad log pi(o) = 0, over all completions of one token: the vectors are of what is sampled from."""
    params, found, _ = rollouts(2)
    made = experiment()
    vocab = made.programs.policy.vocab_size
    prompts, lengths = found.prompt_tokens[:2], found.prompt_lengths[:2]
    every = Rollouts(
        prompt_tokens=prompts,
        prompt_lengths=lengths,
        completion_tokens=np.tile(np.arange(vocab, dtype=np.int32)[None, :, None], (2, 1, 1)),
        completion_lengths=np.ones((2, vocab), np.int32),
        logprobs=np.zeros((2, vocab, 1), np.float32),
        stop_reasons=np.zeros((2, vocab), np.int32),
    )
    logits = made.programs.policy.apply(params, jnp.asarray(prompts))[np.arange(2), lengths - 1]
    of_each = rollout_vectors(made, params, every, size=None, memory=GIB)
    mean = np.einsum("qv,qvd->qd", np.asarray(jax.nn.softmax(logits)), of_each)
    assert np.abs(of_each).max() > 0.1
    np.testing.assert_allclose(mean, 0.0, atol=1e-4)


def test_sketches_are_of_the_whole_vectors():
    params, found, _ = rollouts(2)
    short = rollout_vectors(experiment(), params, found, size=64, memory=GIB)
    shapes, start, tree = jax.tree.leaves(params), 0, []
    for leaf in shapes:
        tree.append(jnp.asarray(vectors(2)[3, :, start : start + leaf.size]).reshape(2, *leaf.shape))
        start += leaf.size
    np.testing.assert_allclose(short[3], sketches(tree, 64), atol=1e-4)


def test_portions_and_devices_do_not_matter():
    """Five of sixteen rows at a time, and rows shared by eight devices. Entries are about 5."""
    params, found, _ = rollouts(2)
    parameters = vectors(2).shape[-1]
    cut = rollout_vectors(experiment(), params, found, size=None, memory=4 * parameters * 5.5)
    np.testing.assert_allclose(cut, vectors(2), atol=1e-4)
    on_eight = build(make_config())
    spread = rollout_vectors(on_eight, jax.device_get(params), found, size=None, memory=GIB)
    np.testing.assert_allclose(spread, vectors(2), atol=1e-4)


def test_buckets_do_not_matter(monkeypatch):
    """Rows are sorted by length, cut, and put back into their order."""
    params, found, _ = rollouts(2)
    monkeypatch.setattr(batching, "SHORTEST", 1)
    cut = rollout_vectors(experiment(), params, found, size=None, memory=4 * vectors(2).shape[-1] * 5.5)
    np.testing.assert_allclose(cut, vectors(2), atol=1e-4)


def test_equal_completions_of_a_prompt_are_differentiated_once():
    params, found, _ = rollouts(2)
    twice = dataclasses.replace(
        found,
        completion_tokens=np.tile(found.completion_tokens, (1, 2, 1)),
        completion_lengths=np.tile(found.completion_lengths, (1, 2)),
    )
    seen, memory = [], 4 * vectors(2).shape[-1] * 5.5
    of_each = rollout_vectors(
        experiment(), params, twice, size=None, memory=memory, progress=lambda *counts: seen.append(counts)
    )
    np.testing.assert_allclose(of_each, np.tile(vectors(2), (1, 2, 1)), atol=1e-4)
    distinct = len({(q, row.tobytes()) for q, rows in enumerate(found.completion_tokens) for row in rows})
    assert seen == [(min(done, distinct), distinct) for done in range(5, distinct + 5, 5)]


def test_rows_at_once():
    assert rows_at_once(1000, 1e9, 1) == 32
    assert rows_at_once(1000, 4000 * 5.5, 1) == 5
    assert rows_at_once(1000, 4000 * 21.0, 8) == 16
    assert rows_at_once(1000, 1.0, 8) == 8  # at least one for each device


def test_every_aggregation_is_a_factor_of_a_completion():
    """All tokens of a completion have the same weight, which is why one vector per rollout is enough."""
    lengths = jnp.array([[1, 3, 7]])
    for aggregation in AGGREGATIONS.values():
        assert aggregation.weight(lengths, 7).shape == lengths.shape


@pytest.mark.slow
def test_it_compiles_for_tpu(chips):
    """The program returns nothing as large as rollouts x parameters."""
    made = build(make_config(), chips)
    trained = abstract_state(made.programs).params
    rows = as_rows(rollouts(2)[1])
    by_row = named(made.programs.mesh, "batch")
    abstract = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=by_row), rows)
    compiled = jax.jit(make_gradients(made.programs.adapted, 1.0, 0, 128), out_shardings=by_row).lower(
        trained, abstract
    )
    assert compiled.compile().memory_analysis().output_size_in_bytes <= 2 * 16 // 4 * 128 * 4
