"""Curves of a run as numbers, for the script of the pages (page.js), which draws them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from grpo_jax.json_record import JsonRecord
from grpo_jax.reporting.panels import PASS_AT_1, panels_of
from grpo_jax.runs.lines import RunMetrics

MOST_STEPS = 1000  # of a page that holds all its numbers; of a longer run it has each second step, or third, ...


@dataclass(frozen=True)
class Curves(JsonRecord):
    """The numbers of successive lines of metrics.jsonl."""

    step: Sequence[int]  # of each training step; the columns below are as long
    rollouts: Sequence[int]
    prompts: Sequence[int]
    seconds: Sequence[float]  # of training
    trained: Mapping[str, Mapping[str, Sequence[float]]]  # panel -> curve -> values; NaN where a step has none
    evaluated: Mapping[str, Mapping[str, Sequence[Sequence[float]]]]  # panel -> curve -> (step, value, low, high)

    @classmethod
    def of(cls, metrics: RunMetrics, most: float = math.inf) -> "Curves":
        """Return the curves of these lines, with every n-th training step, so that there are at most `most`."""
        every = math.ceil(len(metrics.training) / most) or 1
        lines = metrics.training[::-1][::every][::-1]  # the last one is always there
        trained = {panel.title: panel.values(lines) for panel in panels_of(lines)}
        evaluated: dict[str, list[Sequence[float]]] = {}
        for line in metrics.evaluations:
            if (share := line.scores.pass_at[0]).known:
                evaluated.setdefault(line.split.lower(), []).append((line.step, *map(_rounded, share)))
        return cls(
            step=[line.step for line in lines],
            rollouts=[line.rollouts for line in lines],
            prompts=[line.prompts for line in lines],
            seconds=[_rounded(line.seconds) for line in lines],
            trained={
                title: {label: [*map(_rounded, values)] for label, values in curves.items()}
                for title, curves in trained.items()
                if curves
            },
            evaluated={PASS_AT_1.title: dict(sorted(evaluated.items(), reverse=True))} if evaluated else {},
        )


def _rounded(value: float) -> float:
    """Return a number with four digits, which are more than a screen shows."""
    return float(f"{value:.4g}")
