"""What another reward would have said of completions that are there: the lines of a run's rollouts/*.jsonl.

It is about these completions only. A run that had learned from the other reward would have written others.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from itertools import groupby
from typing import Any, Literal, NamedTuple, TypeAlias

from grpo_jax.rewards.verdict import Attempt, Reward

Kind: TypeAlias = Literal["right", "wrong", "unscored"]
Group: TypeAlias = Mapping[str, Any]  # a line


class Grade(NamedTuple):
    """What a reward says of one completion."""

    reward: float | None  # None: unscored
    right: bool  # False also where the reward says nothing about it
    answer: str | None

    @property
    def kind(self) -> Kind:
        if self.reward is None:
            return "unscored"
        return "right" if self.right else "wrong"


@dataclass
class Tally:
    """Counts of a step under one reward."""

    right: int = 0
    scored: int = 0
    unscored: int = 0
    signal: int = 0
    groups: int = 0

    def add(self, grades: Sequence[Grade], tolerance: float) -> None:
        """Counts a group, as training does: it carries signal if its rewards spread wider than the tolerance."""
        rewards = [grade.reward for grade in grades if grade.reward is not None]
        self.right += sum(grade.kind == "right" for grade in grades)
        self.scored += len(rewards)
        self.unscored += len(grades) - len(rewards)
        self.signal += bool(rewards) and max(rewards) - min(rewards) > tolerance
        self.groups += 1

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(*(mine + theirs for mine, theirs in zip(astuple(self), astuple(other), strict=True)))


@dataclass
class Regraded:
    """What has changed, and what has not."""

    completions: int = 0
    changes: Counter[tuple[Kind, Kind]] = field(default_factory=Counter)  # of verdicts, (then, now)
    rewards: int = 0  # completions with another reward, whether or not another verdict
    steps: dict[int, tuple[Tally, Tally]] = field(default_factory=dict)  # then, now
    differing: list[dict[str, Any]] = field(default_factory=list)  # the first of them, as plain JSON values

    @property
    def verdicts(self) -> int:
        """How many verdicts have changed."""
        return self.changes.total()


def regrade(groups: Iterable[Group], reward: Reward, *, tolerance: float, keep: int) -> Regraded:
    """Judges completions again.

    Args:
      groups: lines of rollouts/*.jsonl, the groups of a step next to each other. Where a line of an earlier version
        has no "right", a reward of 1 is.
      tolerance: `objective.no_signal_tolerance` of the run.
      keep: how many of the differing completions are kept, the first ones.
    """
    found = Regraded()
    for step, together in groupby(groups, key=lambda group: int(group["step"])):
        then, now = found.steps.setdefault(step, (Tally(), Tally()))
        for group, grades in _judged(list(together), reward):
            before = _then(group)
            then.add(before, tolerance)
            now.add(grades, tolerance)
            for index, pair in enumerate(zip(before, grades, strict=True)):
                _compare(found, group, index, *pair, keep)
    return found


def _judged(groups: Sequence[Group], reward: Reward) -> Iterator[tuple[Group, list[Grade]]]:
    """All completions of a step are judged at once, as in training."""
    verdicts = iter(
        reward.judge(
            [
                Attempt(group["prompt"], group["gold"], text, reason == "stop", length)
                for group in groups
                for text, reason, length in zip(
                    group["completions"], group["stop_reasons"], group["lengths"], strict=True
                )
            ]
        )
    )
    for group in groups:
        of_group = [next(verdicts) for _ in group["completions"]]
        yield group, [Grade(v.reward if v.scored else None, v.right is True, v.answer) for v in of_group]


def _then(group: Group) -> list[Grade]:
    right = group.get("right") or [reward == 1 for reward in group["rewards"]]
    return [
        Grade(reward, known is True, answer)
        for reward, known, answer in zip(group["rewards"], right, group["answers"], strict=True)
    ]


def _compare(found: Regraded, group: Group, index: int, then: Grade, now: Grade, keep: int) -> None:
    found.completions += 1
    another_verdict, another_reward = then.kind != now.kind, then.reward != now.reward
    found.changes.update([(then.kind, now.kind)] * another_verdict)
    found.rewards += another_reward
    if (another_verdict or another_reward) and len(found.differing) < keep:
        found.differing.append(
            {
                "step": group["step"],
                "id": group["id"],
                "prompt": group["prompt"],
                "gold": group["gold"],
                "sample": index,
                "completion": group["completions"][index],
                "then": {"verdict": then.kind, "reward": then.reward, "answer": then.answer},
                "now": {"verdict": now.kind, "reward": now.reward, "answer": now.answer},
            }
        )
