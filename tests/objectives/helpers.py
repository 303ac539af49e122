"""Small things that tests of objectives build."""

import dataclasses

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from grpo_jax.objectives import Objective, Outcomes, Terms, make_objective
from grpo_jax.objectives.ratios import log_importance_ratio
from grpo_jax.types import Groups
from tests.helpers import make_config


def outcomes(rewards, scored=None, **others) -> Outcomes:
    """Make the outcomes of groups with these rewards. All are scored unless `scored` says otherwise."""
    rewards = np.array(rewards, np.float32)
    scored = np.ones(rewards.shape, bool) if scored is None else np.array(scored)
    return Outcomes(rewards=jnp.array(rewards), scored=jnp.array(scored), **others)


def groups_of(*, old: Array, sampler: Array, reference: Array | None, lengths: Array, advantages: Array) -> Groups:
    """Make groups with these log-probabilities."""
    return Groups.without_texts(
        completion_lengths=lengths,
        advantages=advantages,
        sampler_logprobs=sampler,
        old_logprobs=old,
        reference_logprobs=reference,
    )


def terms_of(
    logprobs: Array, old: Array, *, mask: Array, weights: Array, advantages: Array, reference: Array | None = None
) -> Terms:
    """Make the input of a surrogate from the completions' new and old log-probabilities."""
    return Terms(
        mask=mask,
        plain_weights=weights,
        correction=jnp.ones(weights.shape),
        prompt_weights=jnp.ones(weights.shape[:-2]),
        logprobs=logprobs,
        log_ratio=log_importance_ratio(logprobs, old, mask),
        reference_logprobs=reference,
        advantages=advantages,
    )


def made_of(name: str, group_size: int = 2, **changes: object) -> Objective:
    """An objective by its name, with a recipe's own aggregation."""
    settings = {"name": name, "aggregation": "published", **changes}
    return make_objective(dataclasses.replace(make_config().objective, **settings), group_size)
