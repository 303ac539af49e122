"""Small things that tests of objectives build."""

import dataclasses

import jax.numpy as jnp

from grpo_jax.objectives import Objective, Outcomes, make_objective
from tests.helpers import make_config


def outcomes(rewards, scored=None, **others) -> Outcomes:
    """Of these groups; all are scored if `scored` does not say otherwise."""
    rewards = jnp.array(rewards, jnp.float32)
    return Outcomes(rewards, jnp.ones(rewards.shape, bool) if scored is None else jnp.array(scored), **others)


def made_of(name: str, group_size: int = 2, **changes: object) -> Objective:
    """An objective by its name, with a recipe's own aggregation."""
    settings = {"name": name, "aggregation": "published", **changes}
    return make_objective(dataclasses.replace(make_config().objective, **settings), group_size)
