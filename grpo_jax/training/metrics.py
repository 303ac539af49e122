"""Metrics on their way from the devices to the log."""

from typing import NamedTuple, TypeAlias

import jax.numpy as jnp
from jaxtyping import Array, Float


class Mean(NamedTuple):
    """Means are divided once, at the end."""

    total: Float[Array, ""]
    weight: Float[Array, ""]


Metrics: TypeAlias = dict[str, Mean]


def merge(first: Metrics, second: Metrics) -> Metrics:
    """The metrics of two micro-batches together: sums are added, and of `max/...` the larger is kept."""
    return {
        name: Mean(*map(jnp.maximum if name.startswith("max/") else jnp.add, first[name], second[name]))
        for name in second
    }
