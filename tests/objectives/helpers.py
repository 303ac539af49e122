"""Small things that tests of objectives build."""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array

from grpo_jax.objectives import Objective, Outcomes, make_objective
from grpo_jax.types import Groups
from tests.helpers import make_config


def outcomes(rewards, scored=None, **others) -> Outcomes:
    """Of these groups; all are scored if `scored` does not say otherwise."""
    rewards = jnp.array(rewards, jnp.float32)
    return Outcomes(
        rewards=rewards, scored=jnp.ones(rewards.shape, bool) if scored is None else jnp.array(scored), **others
    )


def groups_of(*, old: Array, sampler: Array, reference: Array | None, lengths: Array, advantages: Array) -> Groups:
    """Groups with these log-probabilities; of prompts and tokens, which no objective reads, there are only zeros."""
    return Groups(
        prompt_tokens=jnp.zeros((*lengths.shape[:-1], 1), jnp.int32),
        prompt_lengths=jnp.ones(lengths.shape[:-1], jnp.int32),
        completion_tokens=jnp.zeros(sampler.shape, jnp.int32),
        completion_lengths=lengths,
        advantages=advantages,
        sampler_logprobs=sampler,
        old_logprobs=old,
        reference_logprobs=reference,
    )


def made_of(name: str, group_size: int = 2, **changes: object) -> Objective:
    """An objective by its name, with a recipe's own aggregation."""
    settings = {"name": name, "aggregation": "published", **changes}
    return make_objective(dataclasses.replace(make_config().objective, **settings), group_size)
