"""Sequences whose elements are read on access."""

import bisect
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, overload

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class RandomAccess(Sequence[T]):
    """A sequence that stores a function instead of its elements, so that its size costs no memory."""

    length: int
    read: Callable[[int], T]  # for 0 <= index < length

    def __len__(self) -> int:
        return self.length

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> list[T]: ...
    def __getitem__(self, index: int | slice) -> T | list[T]:
        if isinstance(index, slice):
            return [self.read(each) for each in range(self.length)[index]]
        return self.read(range(self.length)[index])  # the range handles negative numbers and raises IndexError


@dataclass(frozen=True, eq=False)
class Records(RandomAccess[Mapping[str, Any]]):
    """The records of a source, and the place of each for messages."""

    where: Callable[[int], str]  # such as "train.jsonl:12"


def concatenate(parts: Sequence[Records]) -> Records:
    """Return the records of all parts, one part after the other."""
    ends = list(itertools.accumulate(map(len, parts)))

    def locate(index: int) -> tuple[Records, int]:
        part = bisect.bisect_right(ends, index)
        return parts[part], index - (ends[part] - len(parts[part]))

    def read(index: int) -> Mapping[str, Any]:
        part, inside = locate(index)
        return part.read(inside)

    def where(index: int) -> str:
        part, inside = locate(index)
        return part.where(inside)

    return Records(ends[-1], read, where)
