"""Estimates of each prompt from earlier completions: reward, chance to be right, length, groups without signal.

The chance to be right is the mean of a Beta posterior whose counts decay: a rollout from `half_life` steps ago counts
half, because the policy has moved since. The prior counts as two rollouts at the mean of all prompts, which decays in
the same way. Rewards and lengths are estimated alike. A reward may have any scale (2 for right, or -1 for wrong), so it
says nothing about the chance, which is counted by itself.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

PRIOR_ROLLOUTS = 2.0


def signal_chance(success: Float[np.ndarray, "*any"], group_size: int) -> Float[np.ndarray, "*any"]:
    """Return 1 - p^G - (1-p)^G: the chance that a group has both right and wrong completions, 2p(1-p) for pairs.

    Args:
      success: p, the chance that a prompt's completions are right. It is cut to [0, 1], because an earlier version may
        have estimated it from rewards.
    """
    p = np.clip(success, 0, 1)
    chance: np.ndarray = 1 - p**group_size - (1 - p) ** group_size
    return chance


def comparable_of(scored: Bool[np.ndarray, "N G"]) -> Bool[np.ndarray, " N"]:
    """Return a mask of the groups with two rewards or more. One reward alone has nothing to differ from."""
    comparable: np.ndarray = scored.sum(axis=1) >= 2
    return comparable


class Streaks:
    """For each prompt, how many of its newest groups in a row carried no signal. They are the same on every host."""

    def __init__(self) -> None:
        """Start without any group."""
        self._prompts: dict[int, int] = {}

    def of(self, prompts: Sequence[int]) -> Int[np.ndarray, " N"]:
        """Return the streaks of prompts, given by ids."""
        return np.array([self._prompts.get(prompt, 0) for prompt in prompts], np.int64)

    def observe(
        self, prompts: Sequence[int], signal: Bool[np.ndarray, " N"], comparable: Bool[np.ndarray, " N"]
    ) -> None:
        """Add the groups of a step. A group without signal that has no two rewards to compare says nothing."""
        for prompt, carries, compared in zip(prompts, signal.tolist(), comparable.tolist(), strict=True):
            if carries:
                self._prompts.pop(prompt, None)
            elif compared:
                self._prompts[prompt] = self._prompts.pop(prompt, 0) + 1

    def record(self) -> list[tuple[int, int]]:
        """Return [prompt, streak] of each streak as plain JSON values, for a checkpoint."""
        return list(self._prompts.items())

    def continue_from(self, record: Iterable[tuple[int, int]]) -> None:
        """Continue from the streaks that `record` returned."""
        self._prompts = dict(record)


class DecayedMeans:
    """Decayed sums of a quantity and of rollouts, per prompt and over all prompts. They are the same on every host."""

    def __init__(self, half_life: float, start: float):
        """Start without any observation.

        Args:
          half_life: in steps.
          start: the mean until something is observed.
        """
        self._half_life, self._start = half_life, start
        self._overall: tuple[float, float, int] = (0.0, 0.0, 0)  # total, rollouts, step of these sums
        self._prompts: dict[int, tuple[float, float, int]] = {}

    def expected(self, prompts: Sequence[int], step: int) -> Float[np.ndarray, " N"]:
        """Return the expected values of prompts, given by ids, at a step."""
        total, count = self._decayed(self._overall, step)
        prior = total / count if count else self._start
        found = [self._decayed(self._prompts.get(prompt, (0.0, 0.0, step)), step) for prompt in prompts]
        totals, counts = np.array(found, np.float64).reshape(-1, 2).T
        return ((totals + PRIOR_ROLLOUTS * prior) / (counts + PRIOR_ROLLOUTS)).astype(np.float32)

    def evidence(self, prompts: Sequence[int], step: int) -> Float[np.ndarray, " N"]:
        """Return how many rollouts the expected values count as: the prompts' own ones, decayed, and the prior's."""
        counts = [self._decayed(self._prompts.get(prompt, (0.0, 0.0, step)), step)[1] for prompt in prompts]
        return np.array(counts, np.float32) + np.float32(PRIOR_ROLLOUTS)

    def observe(
        self,
        prompts: Sequence[int],
        values: Shaped[np.ndarray, "N G"],
        known: Bool[np.ndarray, "N G"],
        step: int,
    ) -> None:
        """Add the groups of a step. Completions whose value is not known are ignored."""
        totals, counts = np.where(known, values, 0.0).sum(axis=1, dtype=np.float64), known.sum(axis=1)
        for prompt, total, count in zip(prompts, totals.tolist(), counts.tolist(), strict=True):
            self._prompts[prompt] = self._added(self._prompts.get(prompt, (0.0, 0.0, step)), total, count, step)
        self._overall = self._added(self._overall, float(totals.sum()), float(counts.sum()), step)

    def record(self) -> dict[str, Any]:
        """Return the sums as plain JSON values, for a checkpoint."""
        return {"overall": list(self._overall), "prompts": [[prompt, *sums] for prompt, sums in self._prompts.items()]}

    def continue_from(self, record: Mapping[str, Any]) -> None:
        """Continue from the sums that `record` returned."""
        self._overall = tuple(record["overall"])
        self._prompts = {prompt: (total, count, step) for prompt, total, count, step in record["prompts"]}

    def _decayed(self, sums: tuple[float, float, int], step: int) -> tuple[float, float]:
        total, count, then = sums
        weight = 0.5 ** ((step - then) / self._half_life)
        return weight * total, weight * count

    def _added(self, sums: tuple[float, float, int], total: float, count: float, step: int) -> tuple[float, float, int]:
        before_total, before_count = self._decayed(sums, step)
        return before_total + total, before_count + count, step


@dataclass(frozen=True)
class Visits:
    """The estimates of a run."""

    rewards: DecayedMeans
    successes: DecayedMeans  # 1 for a right completion, 0 for a wrong one
    lengths: DecayedMeans  # in tokens; the chance of a prompt and the order of sampling depend on them
    streaks: Streaks

    @staticmethod
    def empty(half_life: float, room: int) -> "Visits":
        """Return estimates without any observation. `room` is max_new_tokens."""
        rewards, successes = DecayedMeans(half_life, start=0.5), DecayedMeans(half_life, start=0.5)
        return Visits(rewards, successes, DecayedMeans(half_life, start=room), Streaks())

    def observe(
        self,
        prompts: Sequence[int],
        rewards: Float[np.ndarray, "N G"],
        successes: Float[np.ndarray, "N G"],
        scored: Bool[np.ndarray, "N G"],
        lengths: Int[np.ndarray, "N G"],
        signal: Bool[np.ndarray, " N"],
        step: int,
    ) -> None:
        """Add the groups of a step. A completion without a verdict only adds its length."""
        self.rewards.observe(prompts, rewards, scored, step)
        self.successes.observe(prompts, successes, scored, step)
        self.lengths.observe(prompts, lengths, np.ones(lengths.shape, bool), step)
        self.streaks.observe(prompts, signal, comparable_of(scored))
