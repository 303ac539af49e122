"""Marks in the annotations of the schema: what a field may be, and when it may change."""

import enum
import math
from dataclasses import dataclass
from typing import Annotated, Any


@dataclass(frozen=True)
class Range:
    """The values a number may take: low <= value <= high, or low < value where `open_low` is set; with `or_zero`, 0."""

    low: float = -math.inf
    high: float = math.inf
    open_low: bool = False
    or_zero: bool = False

    def admits(self, value: float) -> bool:
        if self.or_zero and value == 0:
            return True
        above = value > self.low if self.open_low else value >= self.low
        return above and value <= self.high  # False for NaN

    def __str__(self) -> str:
        low = f"above {self.low:.10g}" if self.open_low else f"at least {self.low:.10g}"
        if self.or_zero:
            low = f"0, or {low}"
        if self.low == -math.inf:
            return f"at most {self.high:.10g}"
        return low if self.high == math.inf else f"{low} and at most {self.high:.10g}"


class Change(enum.Enum):
    """When a field may change. Without this mark, it may change in a fork, but not when a run continues."""

    FREE = "when a run continues, and in a fork; no policy and no verdict depends on it"
    ROUNDING = "when a run continues, and in a fork; it decides how work is divided, so numbers differ by rounding"
    LENGTH = "when a run continues, within limits (config/continuing.py), and in a fork"
    INHERITED = "never; a fork inherits it from its run"


@dataclass(frozen=True)
class Before:
    """The value of a field in runs that are older than the field, if it is not the default."""

    value: Any


@dataclass(frozen=True)
class MayBeEmpty:
    """A tuple that may have no values."""


WHOLE = Range(high=2**31 - 1)  # of whole numbers that have no upper bound of their own: devices count in int32
Count = Annotated[int, Range(1)]
CountOrZero = Annotated[int, Range(0)]
# Beyond 1e-12 and 1e12 numbers are lost in the rounding of float32, beside others of ordinary size, or overflow in it.
Positive = Annotated[float, Range(1e-12, 1e12)]
NonNegative = Annotated[float, Range(1e-12, 1e12, or_zero=True)]
# Of Adam, whose steps are about as large: one of 1e-12 is 2^-24 of a parameter of 2e-5, and most parameters are larger.
LearningRate = Annotated[float, Range(1e-12, 1)]
Share = Annotated[float, Range(0, 1)]
Seed = Annotated[int, Range(0, 2**32 - 1)]
