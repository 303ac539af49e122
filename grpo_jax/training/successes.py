"""Estimates of each prompt's expected reward from its earlier completions.

For rewards in [0, 1] the estimate is the mean of a Beta posterior whose counts decay: a rollout from `half_life` steps
ago counts half, because the policy has moved since. The prior counts as two rollouts at the mean of all prompts, which
decays in the same way.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

PRIOR_ROLLOUTS = 2.0


class Successes:
    """Decayed sums of rewards and of rollouts, per prompt and over all prompts. They are the same on every host."""

    def __init__(self, half_life: float):
        """Start without any observation. `half_life` is in steps."""
        self._half_life = half_life
        self._overall: tuple[float, float, int] = (0.0, 0.0, 0)  # total reward, rollouts, step of these sums
        self._prompts: dict[int, tuple[float, float, int]] = {}

    def expected(self, prompts: Sequence[int], step: int) -> Float[np.ndarray, " N"]:
        """Return the expected rewards of prompts, given by ids, at a step; 1/2 if nothing was observed yet."""
        total, count = self._decayed(self._overall, step)
        prior = total / count if count else 0.5
        found = [self._decayed(self._prompts.get(prompt, (0.0, 0.0, step)), step) for prompt in prompts]
        totals, counts = np.array(found, np.float64).reshape(-1, 2).T
        return ((totals + PRIOR_ROLLOUTS * prior) / (counts + PRIOR_ROLLOUTS)).astype(np.float32)

    def observe(
        self,
        prompts: Sequence[int],
        rewards: Float[np.ndarray, "N G"],
        scored: Bool[np.ndarray, "N G"],
        step: int,
    ) -> None:
        """Add the groups of a step. Completions without a verdict are ignored."""
        totals, counts = np.where(scored, rewards, 0.0).sum(axis=1, dtype=np.float64), scored.sum(axis=1)
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
