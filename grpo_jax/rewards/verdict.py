"""What a reward sees of a completion, and what it says of it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable


@dataclass(frozen=True)
class Attempt:
    """One completion of one problem."""

    prompt: str  # the problem's text
    gold: str  # the right answer
    completion: str  # text, without the stop token
    stopped: bool  # the model ended it itself; False: cut off at the maximum length
    tokens: int  # its length in tokens, the stop token included


@dataclass(frozen=True)
class Verdict:
    """`scored` is False where no verdict was possible; such a completion has no reward, which is not a reward of 0."""

    reward: float
    answer: str | None  # what was read out of the completion, for majority votes and for people
    scored: bool = True
    right: bool | None = None  # None: this reward says nothing about correctness
    terms: Mapping[str, float] = field(default_factory=dict, compare=False)  # of a sum: the rewards it was made of


UNSCORED = Verdict(reward=0.0, answer=None, scored=False)


class Reward(Protocol):
    """Judges completions. `judge` may be called from several threads at once."""

    @property
    def unscored(self) -> Counter[str]:
        """Return how many attempts had no verdict so far, by reason."""

    def judge(self, attempts: Sequence[Attempt]) -> list[Verdict]:
        """Return one verdict for each attempt, in their order."""

    def warm(self) -> None:
        """Start what takes long to start, in the background. Without it, the first `judge` does."""

    def close(self) -> None:
        """End processes. May be called more than once; `judge` may not be called afterwards."""


@runtime_checkable
class Equating(Reward, Protocol):
    """A reward that knows which answers say the same, for majority votes. Without it, those of the same text do."""

    def same(self, prompt: str, answer: str, others: Sequence[str]) -> list[bool]:
        """Return whether each of the others says the same as this answer to the problem of that text."""


def same_text(answer: str, other: str) -> bool:
    """Return whether two answers are the same but for the white space around them."""
    return answer.strip() == other.strip()
