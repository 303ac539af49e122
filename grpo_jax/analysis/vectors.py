"""One vector per rollout: the gradient of its log-probability, whole or as a sketch."""

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from grpo_jax.analysis.sketch import flat, sketches
from grpo_jax.objectives import length_mask
from grpo_jax.policy import Policy, trained_of, with_trained
from grpo_jax.processes import put
from grpo_jax.sampling import one_ahead
from grpo_jax.sharding import batch_shards, named
from grpo_jax.training import Experiment
from grpo_jax.training.batching import buckets, narrowest
from grpo_jax.types import Params, Rollouts

MOST_ROWS = 32  # differentiated at once: more are no faster, and each needs as much memory as all parameters


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Rows:
    """Completions, each with its own copy of its prompt: either B of them or one."""

    prompt_tokens: Int[Any, "*B P"]
    prompt_lengths: Int[Any, "*B"]
    completion_tokens: Int[Any, "*B C"]
    completion_lengths: Int[Any, "*B"]


Gradients: TypeAlias = Callable[[Params, Rows], Float[Array, "B entries"]]


def make_gradients(policy: Policy, temperature: float, chunk: int, size: int | None) -> Gradients:
    """Return a function (params, rows) -> one vector per row, ready for `jax.jit`.

    A vector is the gradient of the summed log-probability of the completion's tokens by the trained parameters.

    Args:
      policy: as it is trained.
      temperature, chunk: see `Policy.completion_logprobs`.
      size: of each vector's sketch; None keeps all entries.
    """
    # The policy sees one row at a time, which cannot be distributed. The rows of `vmap` are distributed as they arrive.
    policy = dataclasses.replace(policy, mesh=None)

    def of_row(params: Params, row: Rows) -> Params:
        def score(trained: Params) -> Float[Array, ""]:
            logprobs = policy.completion_logprobs(
                with_trained(params, trained),
                row.prompt_tokens[None],
                row.prompt_lengths[None],
                row.completion_tokens[None, None],
                temperature=temperature,
                chunk=chunk,
            )[0, 0]
            return jnp.where(length_mask(row.completion_lengths, len(logprobs)), logprobs, 0.0).sum()

        return jax.grad(score)(trained_of(params))

    def of_rows(params: Params, rows: Rows) -> Float[Array, "B entries"]:
        gradients = jax.vmap(of_row, in_axes=(None, 0))(params, rows)
        return jax.vmap(flat)(gradients) if size is None else sketches(gradients, size)

    return of_rows


def rows_at_once(parameters: int, memory: float, shards: int) -> int:
    """Return how many rows to differentiate at once: a multiple of the shards, if possible within `memory` bytes."""
    fitting = int(memory // (4 * parameters))
    return max(min(fitting, MOST_ROWS) // shards, 1) * shards


def rollout_vectors(
    experiment: Experiment,
    params: Params,
    rollouts: Rollouts,
    *,
    size: int | None,
    memory: float,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Float[np.ndarray, "N S entries"]:
    """Return the vectors of all rollouts (host arrays), on the host.

    Equal completions of a prompt are differentiated once. A policy that is sure of its answers gives many of them.

    Args:
      params: of `experiment.programs.adapted`.
      size: see `make_gradients`.
      memory: bytes on the devices for whole gradients, which exist there until they are sketched.
      progress: called with the number of completions that have been differentiated, and of all distinct ones.
    """
    config, shards = experiment.config, batch_shards(experiment.programs.mesh)
    parameters = sum(leaf.size for leaf in jax.tree.leaves(trained_of(params)))
    at_once = rows_at_once(parameters, memory, shards)
    by_row = named(experiment.programs.mesh, "batch")
    gradients = jax.jit(
        make_gradients(
            experiment.programs.adapted, config.rollout.sampling.temperature, config.train.logprob_chunk, size
        ),
        out_shardings=by_row,
    )
    rows = as_rows(rollouts)
    _, first, which = np.unique(np.column_stack(jax.tree.leaves(rows)), axis=0, return_index=True, return_inverse=True)
    rows, copies = jax.tree.map(lambda array: array[first], rows), which.ravel()
    count = len(first)
    choice = buckets(rows.prompt_tokens.shape[1], rows.completion_tokens.shape[1])
    order = np.argsort(narrowest(choice, rows.prompt_lengths, rows.completion_lengths), kind="stable")

    def batches() -> Iterator[slice]:
        return (slice(start, min(start + at_once, count)) for start in range(0, count, at_once))

    def start(part: slice) -> Any:
        # The last batch is filled with repetitions, whose results are discarded.
        index = np.resize(order[part], at_once)
        chosen = jax.tree.map(lambda array: array[index], rows)
        longest = (lengths.max(keepdims=True) for lengths in (chosen.prompt_lengths, chosen.completion_lengths))
        bucket = choice[narrowest(choice, *longest)[0]]
        cut = dataclasses.replace(
            chosen,
            prompt_tokens=chosen.prompt_tokens[:, : bucket.prompt],
            completion_tokens=chosen.completion_tokens[:, : bucket.completion],
        )
        return gradients(params, put(cut, by_row))

    vectors = np.empty((len(copies), parameters if size is None else size), np.float32)
    for part, found in one_ahead(start, batches()):
        for row, vector in zip(order[part], found[: part.stop - part.start], strict=True):
            vectors[copies == row] = vector
        progress(part.stop, count)
    return vectors.reshape(*rollouts.completion_lengths.shape, -1)


def as_rows(rollouts: Rollouts) -> Rows:
    """Return the rollouts, one per row, in the order of prompts."""
    n, s, c = rollouts.completion_tokens.shape
    return Rows(
        prompt_tokens=np.repeat(rollouts.prompt_tokens, s, axis=0),
        prompt_lengths=np.repeat(rollouts.prompt_lengths, s),
        completion_tokens=rollouts.completion_tokens.reshape(n * s, c),
        completion_lengths=rollouts.completion_lengths.ravel(),
    )
