"""Numbers with their intervals, as records and reports have them. Nothing here imports JAX."""

import dataclasses
from dataclasses import dataclass
from typing import NamedTuple

from grpo_jax.json_record import JsonRecord


class Estimate(NamedTuple):
    """A number with its interval, which is infinite for a single run."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class TestedEstimate(JsonRecord):
    """An estimate with its 95 % interval, and a test of whether it differs from 0."""

    value: float
    low: float
    high: float
    p: float  # two-sided, by the share of resamples on the other side of 0
    resolved: bool  # its sign, at 5 % for all comparisons of its table together (Holm)

    @property
    def estimate(self) -> Estimate:
        """The estimate with its interval."""
        return Estimate(self.value, self.low, self.high)

    def __neg__(self) -> "TestedEstimate":
        return dataclasses.replace(self, value=-self.value, low=-self.high, high=-self.low)
