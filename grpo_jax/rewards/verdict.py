"""The input and the output of a reward: an attempt, and a verdict on it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, runtime_checkable


@dataclass(frozen=True)
class Attempt:
    """One completion of one problem."""

    prompt: str  # the problem's text
    gold: str  # the right answer
    completion: str  # text, without the stop token
    stopped: bool  # whether the model ended it; False: it was cut off at the maximum length
    tokens: int  # its length in tokens, the stop token included


@dataclass(frozen=True)
class Verdict:
    """The judgement of an attempt. If `scored` is False no verdict was possible, which is not a reward of 0."""

    reward: float
    answer: str | None  # the answer found in the completion, for majority votes and for people
    scored: bool = True
    right: bool | None = None  # None: this reward says nothing about correctness
    terms: Mapping[str, float] = field(default_factory=dict, compare=False)  # the terms of a weighted sum


class Unscorable(ValueError):
    """No verdict is possible; the text is the reason, to count by."""


UNSCORED = Verdict(reward=0.0, answer=None, scored=False)
LARGEST_REWARD = 1e15  # advantages are computed in float32, which cannot hold the squares of much larger ones


def finite_or_unscored(verdict: Verdict) -> Verdict:
    """Return a verdict, made unscored if its reward is not finite or too large. Statistics count it in this form.

    An unscored verdict is neither right nor wrong.
    """
    if verdict.scored and abs(verdict.reward) <= LARGEST_REWARD:  # False for NaN
        return verdict
    return replace(verdict, reward=0.0, scored=False, right=None)


class Reward(Protocol):
    """Judges completions. `judge` may be called from several threads at once."""

    @property
    def unscored(self) -> Counter[str]:
        """How many of the attempts that this process judged have had no verdict so far, by reason."""

    def judge(self, attempts: Sequence[Attempt]) -> list[Verdict]:
        """Return one verdict for each attempt, in their order.

        All completions of a problem come in one call. If several hosts train, each judges some of the problems.
        """

    def warm(self) -> None:
        """Start whatever takes long to start, in the background. Without this call the first `judge` starts it."""

    def close(self) -> None:
        """End all processes. May be called more than once; `judge` may not be called afterwards."""


@runtime_checkable
class Equating(Reward, Protocol):
    """A reward that knows which answers are the same, for majority votes. Otherwise answers of the same text are."""

    def same(self, prompt: str, answer: str, others: Sequence[str]) -> list[bool]:
        """Return whether each of the others is the same as this answer to the problem `prompt`."""


def same_text(answer: str, other: str) -> bool:
    """Return whether two answers are the same text, apart from white space around it."""
    return answer.strip() == other.strip()
