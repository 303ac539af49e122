"""Marks in the annotations of the schema: what a field may be, and when it may change."""

import enum
import math
from dataclasses import dataclass
from typing import Annotated, Any


@dataclass(frozen=True)
class Range:
    """The values a number may take: low <= value <= high, or low < value where `open_low` is set."""

    low: float = -math.inf
    high: float = math.inf
    open_low: bool = False

    def admits(self, value: float) -> bool:
        above = value > self.low if self.open_low else value >= self.low
        return above and value <= self.high  # False for NaN

    def __str__(self) -> str:
        low = f"above {self.low:.10g}" if self.open_low else f"at least {self.low:.10g}"
        if self.low == -math.inf:
            return f"at most {self.high:.10g}"
        return low if self.high == math.inf else f"{low} and at most {self.high:.10g}"


class Change(enum.Enum):
    """When a field may change. Without this mark, it may change in a fork, but not when a run continues."""

    FREE = "when a run continues, and in a fork; no policy and no verdict depends on it"
    ROUNDING = "in the same cases; it decides where and in which portions work is done, so numbers differ by rounding"
    LENGTH = "when a run continues, within limits (config/continuing.py), and in a fork"
    INHERITED = "never; a fork inherits it from its run"


@dataclass(frozen=True)
class Before:
    """The value of a field in runs that are older than the field, if it is not the default."""

    value: Any


@dataclass(frozen=True)
class MayBeEmpty:
    """A tuple that may have no values."""


Count = Annotated[int, Range(1)]
CountOrZero = Annotated[int, Range(0)]
Positive = Annotated[float, Range(0, 1e12, open_low=True)]
NonNegative = Annotated[float, Range(0, 1e12)]
Share = Annotated[float, Range(0, 1)]
Seed = Annotated[int, Range(0, 2**32 - 1)]
