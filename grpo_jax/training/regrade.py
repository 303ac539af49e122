"""Regrade: judge a run's completions again by another reward, and count the groups with signal.

The results are about these completions only. A run that learns from the other reward would sample others.
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
from grpo_jax.evaluation import judged_by, rewards_of
from grpo_jax.objectives import Outcomes, make_objective
from grpo_jax.rewards import Attempt, Reward
from grpo_jax.runs.groups import Completion, TrainingGroup, carries_signal
from grpo_jax.training.resampling import choose_groups, estimate_together
from grpo_jax.training.visits import PRIOR_ROLLOUTS

Kind: TypeAlias = Literal["right", "wrong", "undecided", "unscored"]

UNKNOWN = 0.5  # the expected reward of a prompt if an earlier version did not write it


@dataclass
class Tally:
    """The counts of a step under one reward."""

    right: int = 0
    judged: int = 0  # right or wrong
    unscored: int = 0
    signal: int = 0
    groups: int = 0

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(*(mine + theirs for mine, theirs in zip(astuple(self), astuple(other), strict=True)))


@dataclass
class Regraded:
    """The differences between the written verdicts and those of another reward."""

    completions: int = 0
    changes: Counter[tuple[Kind, Kind]] = field(default_factory=Counter)  # of verdicts, (then, now)
    changed_rewards: int = 0  # completions with another reward, with or without another verdict
    steps: dict[int, tuple[Tally, Tally]] = field(default_factory=dict)  # then, now
    differing: list[dict[str, Any]] = field(default_factory=list)  # the first ones, as plain JSON values

    @property
    def verdicts(self) -> int:
        """The number of changed verdicts."""
        return self.changes.total()


def regrade(groups: Iterable[TrainingGroup], reward: Reward, config: Config, *, keep: int) -> Regraded:
    """Judge completions again, and count the groups that then carry signal for the run's objective.

    Args:
      groups: the groups of each step must be consecutive.
      config: the configuration of the run.
      keep: the number of differing completions to keep.
    """
    objective = make_objective(config.objective, config.rollout.group_size)
    programs = jax.jit(objective.advantages), jax.jit(objective.advantages_alone)
    found = Regraded()
    for step, together in groupby(groups, key=lambda group: group.step):
        then = list(together)
        now = _judged_again(then, reward)
        signal = _signal(now, *programs, config.rollout.prompts_per_step)
        found.steps[step] = _tally(then, sum(group.signal for group in then)), _tally(now, signal)
        for before, after in zip(then, now, strict=True):
            for index in range(len(before.completions)):
                _compare(found, before, index, after.completions[index], keep)
    return found


def kind(one: Completion) -> Kind:
    """Return the kind of a completion's verdict: "undecided" if its reward does not say whether it is right."""
    if not one.verdict.scored:
        return "unscored"
    if one.verdict.right is None:
        return "undecided"
    return "right" if one.verdict.right else "wrong"


def _judged_again(groups: Sequence[TrainingGroup], reward: Reward) -> list[TrainingGroup]:
    """Judge all completions of a step together, as in training, and return their groups with the new verdicts."""
    attempts = [
        Attempt(group.prompt, group.gold, one.text, one.stopped, one.length)
        for group in groups
        for one in group.completions
    ]
    verdicts = iter(judged_by(reward, attempts))
    return [
        dataclasses.replace(
            group, completions=[dataclasses.replace(one, verdict=next(verdicts)) for one in group.completions]
        )
        for group in groups
    ]


def _signal(
    groups: Sequence[TrainingGroup],
    together: Callable[[Outcomes], jax.Array],
    alone: Callable[[Outcomes], jax.Array],
    groups_per_step: int,
) -> int:
    """Return how many groups carry signal. Advantages are computed as `collect` computes them."""
    rewards, scored = rewards_of(groups)
    lengths = np.array([[one.length for one in group.completions] for group in groups], np.int32)
    expected = np.array([UNKNOWN if group.expected is None else group.expected for group in groups], np.float32)
    evidence = np.array([group.evidence or PRIOR_ROLLOUTS for group in groups], np.float32)
    past = {"expected": expected, "evidence": evidence, "success": np.clip(expected, 0, 1)}  # enough to tell signal
    outcomes = Outcomes(rewards=rewards, scored=scored, lengths=lengths, **past)
    advantages = np.asarray(alone(outcomes))
    chosen = choose_groups(carries_signal(advantages), groups_per_step)
    return int(carries_signal(estimate_together(together, outcomes, advantages, chosen)).sum())


def _tally(groups: Sequence[TrainingGroup], signal: int) -> Tally:
    kinds = Counter(kind(one) for group in groups for one in group.completions)
    return Tally(kinds["right"], kinds["right"] + kinds["wrong"], kinds["unscored"], signal, len(groups))


def _compare(found: Regraded, group: TrainingGroup, index: int, now: Completion, keep: int) -> None:
    then = group.completions[index]
    found.completions += 1
    another_verdict, another_reward = kind(then) != kind(now), then.reward != now.reward
    found.changes.update([(kind(then), kind(now))] * another_verdict)
    found.changed_rewards += another_reward
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
