"""Metrics of updates: how they are merged, and which number goes to the log.

They are merged twice: over the micro-batches of a minibatch, inside the update, and over the minibatches of a step, on
the host. The type of a metric defines both, and its result.
"""

import math
import operator
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, Generic, Self, TypeAlias, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Shaped


class Metric(ABC):
    """A small pytree of arrays, on the devices or on the host, or of their shapes. By default they are added."""

    def empty(self) -> Self:
        """Return the neutral element: a metric of this kind that is merged with it does not change."""
        return jax.tree.map(jnp.zeros_like, self)

    def merge(self, other: Self) -> Self:
        """Return the metric of this micro-batch and a later one of the same minibatch together."""
        return jax.tree.map(operator.add, self, other)

    def followed_by(self, later: Self) -> Self:
        """Return the metric of this minibatch and a later one of the same step together."""
        return self.merge(later)

    @abstractmethod
    def result(self) -> float:
        """Return the number for the log. The arrays are on the host."""


Metrics: TypeAlias = Mapping[str, Metric]
M = TypeVar("M", bound=Metric)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Mean(Metric):
    """A weighted mean. It is divided once, at the end, and NaN if the weight is 0."""

    total: Float[Any, ""]
    weight: Float[Any, ""]

    def result(self) -> float:
        return float(self.total / self.weight) if self.weight else math.nan


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class EffectiveShare(Metric):
    """The effective sample size of weights w, as a share of their number n: (sum w)^2 / (n sum w^2)."""

    weights: Mean
    squares: Mean

    def result(self) -> float:
        return self.weights.result() ** 2 / self.squares.result()


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Maximum(Metric):
    """The largest value."""

    value: Float[Any, ""]

    def empty(self) -> "Maximum":
        return Maximum(jnp.full_like(self.value, -jnp.inf))

    def merge(self, other: "Maximum") -> "Maximum":
        larger = jnp.maximum if isinstance(self.value, jax.Array) else np.maximum
        return Maximum(larger(self.value, other.value))

    def result(self) -> float:
        return float(self.value)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Last(Metric):
    """The newest value."""

    value: Shaped[Any, ""]

    def merge(self, other: Self) -> Self:
        return other

    def result(self) -> float:
        return float(self.value)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class OfFirstMinibatch(Metric, Generic[M]):
    """A metric of the first minibatch of a step only."""

    metric: M

    def empty(self) -> Self:
        return type(self)(self.metric.empty())

    def merge(self, other: Self) -> Self:
        return type(self)(self.metric.merge(other.metric))

    def followed_by(self, later: Self) -> Self:
        return self

    def result(self) -> float:
        return self.metric.result()


def empty(metrics: Metrics) -> Metrics:
    """Return the neutral element of all metrics; see `Metric.empty`."""
    return {name: metric.empty() for name, metric in metrics.items()}


def merge(first: Metrics, second: Metrics) -> Metrics:
    """Return the metrics of two micro-batches of a minibatch together."""
    return {name: metric.merge(second[name]) for name, metric in first.items()}


def results(minibatches: Sequence[Metrics]) -> dict[str, float]:
    """Return the numbers of a step from its minibatches' metrics on the host; none if there is no minibatch."""

    def together(earlier: Metrics, later: Metrics) -> Metrics:
        return {name: metric.followed_by(later[name]) for name, metric in earlier.items()}

    merged = reduce(together, minibatches) if minibatches else {}
    return {name: metric.result() for name, metric in merged.items()}
