"""What another reward would have said of the completions that a run has written down, and what of them carried signal.

It is about these completions only. A run that had learned from the other reward would have written others.
"""

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import astuple, dataclass, field
from itertools import groupby
from typing import Any, Literal, TypeAlias

import jax
import numpy as np

from grpo_jax.config import Config
from grpo_jax.evaluation import rewards_of
from grpo_jax.objectives import Outcomes, make_objective
from grpo_jax.rewards import Attempt, Reward
from grpo_jax.runs.groups import Completion, TrainingGroup, carries_signal
from grpo_jax.training.collect import among_themselves, learned

Kind: TypeAlias = Literal["right", "wrong", "unscored"]

UNKNOWN = 0.5  # what is expected of a prompt where an earlier version has not written it down


@dataclass
class Tally:
    """Counts of a step under one reward."""

    right: int = 0
    scored: int = 0
    unscored: int = 0
    signal: int = 0
    groups: int = 0

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


def regrade(groups: Iterable[TrainingGroup], reward: Reward, config: Config, *, keep: int) -> Regraded:
    """Judge completions again, and ask the run's objective which groups carry signal under the new verdicts.

    Args:
      groups: those of a step next to each other.
      config: of the run.
      keep: how many of the differing completions are kept, the first ones.
    """
    estimate = jax.jit(make_objective(config.objective, config.rollout.group_size).advantages)
    found = Regraded()
    for step, together in groupby(groups, key=lambda group: group.step):
        then = list(together)
        now = _judged_again(then, reward)
        signal = _signal(now, lambda outcomes: np.asarray(estimate(outcomes)), config.rollout.prompts_per_step)
        found.steps[step] = _tally(then, sum(group.signal for group in then)), _tally(now, signal)
        for before, after in zip(then, now, strict=True):
            for index in range(len(before.completions)):
                _compare(found, before, index, after.completions[index], keep)
    return found


def kind(one: Completion) -> Kind:
    """Return what its verdict comes to; a completion of which the reward does not say counts as wrong."""
    if not one.verdict.scored:
        return "unscored"
    return "right" if one.verdict.right else "wrong"


def _judged_again(groups: Sequence[TrainingGroup], reward: Reward) -> list[TrainingGroup]:
    """All completions of a step are judged at once, as in training."""
    verdicts = iter(
        reward.judge(
            [
                Attempt(group.prompt, group.gold, one.text, one.stopped, one.length)
                for group in groups
                for one in group.completions
            ]
        )
    )
    return [
        dataclasses.replace(
            group, completions=[dataclasses.replace(one, verdict=next(verdicts)) for one in group.completions]
        )
        for group in groups
    ]


def _signal(groups: Sequence[TrainingGroup], estimate: Callable[[Outcomes], np.ndarray], groups_per_step: int) -> int:
    """Return how many groups carry signal by their advantages, which are made as `collect` makes them."""
    rewards, scored = rewards_of(groups)
    lengths = np.array([[one.length for one in group.completions] for group in groups], np.int32)
    expected = np.array([UNKNOWN if group.expected is None else group.expected for group in groups], np.float32)
    outcomes = Outcomes(rewards=rewards, scored=scored, lengths=lengths, expected=expected)
    advantages = estimate(outcomes)
    chosen = learned(carries_signal(advantages), groups_per_step)
    return int(carries_signal(among_themselves(estimate, outcomes, advantages, chosen)).sum())


def _tally(groups: Sequence[TrainingGroup], signal: int) -> Tally:
    kinds = Counter(kind(one) for group in groups for one in group.completions)
    return Tally(kinds["right"], kinds["right"] + kinds["wrong"], kinds["unscored"], signal, len(groups))


def _compare(found: Regraded, group: TrainingGroup, index: int, now: Completion, keep: int) -> None:
    then = group.completions[index]
    found.completions += 1
    another_verdict, another_reward = kind(then) != kind(now), then.reward != now.reward
    found.changes.update([(kind(then), kind(now))] * another_verdict)
    found.rewards += another_reward
    if (another_verdict or another_reward) and len(found.differing) < keep:
        found.differing.append(
            {
                "step": group.step,
                "id": group.id,
                "prompt": group.prompt,
                "gold": group.gold,
                "sample": index,
                "completion": then.text,
                "then": _plain(then),
                "now": _plain(now),
            }
        )


def _plain(one: Completion) -> dict[str, Any]:
    return {"verdict": kind(one), "reward": one.reward, "answer": one.verdict.answer}
