"""Curves of a run as numbers, for the script of the pages (page.js), which draws them."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from grpo_jax.json_record import JsonRecord
from grpo_jax.reporting.figures import MEASURED
from grpo_jax.runs.lines import Measured, RunMetrics, TrainLine

MOST_STEPS = 1000  # of a page that holds all its numbers; of a longer run it has each second step, or third, ...

LOGARITHMIC = ("sampler against trainer, nats",)  # panels whose vertical axis is, if all values are positive

# Panel -> curve -> its value in a step. The panels of MEASURED and of the terms of a reward follow these.
SAMPLED: Mapping[str, Mapping[str, Callable[[TrainLine], float]]] = {
    "pass@1": {"training reward": lambda line: line.sampled.reward},
    "share of groups": {
        "with signal": lambda line: line.sampled.signal_share,
        "at equal difficulty": lambda line: line.sampled.signal_share_bound,
        "all right": lambda line: line.sampled.all_right,
        "all wrong": lambda line: line.sampled.all_wrong,
    },
    "tokens a completion": {"mean": lambda line: line.sampled.completion_length},
    "entropy, nats a token": {"of the sampled tokens": lambda line: line.sampled.entropy},
    LOGARITHMIC[0]: {
        "largest difference": lambda line: line.measured.get(Measured.SAMPLER_DIFFERENCE, math.nan),
        "mean difference": lambda line: line.measured.get(Measured.SAMPLER_DIFFERENCE_MEAN, math.nan),
    },
    "tokens a second": {"sampled and learned": lambda line: line.tokens_per_second},
}


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
        panels: dict[str, dict[str, list[float]]] = {
            title: {label: [value(line) for line in lines] for label, value in curves.items()}
            for title, curves in SAMPLED.items()
        }
        panels |= {
            title: {label: [line.measured.get(name, math.nan) for line in lines] for name, label in curves.items()}
            for title, curves in MEASURED.items()
        }
        terms = sorted({name for line in lines for name in line.sampled.terms})
        panels["reward of a term"] = {
            name: [line.sampled.terms.get(name, math.nan) for line in lines] for name in terms
        }
        evaluated: dict[str, list[Sequence[float]]] = {}
        for line in metrics.evaluations:
            evaluated.setdefault(line.split.lower(), []).append((line.step, *map(_rounded, line.scores.pass_at[0])))
        return cls(
            step=[line.step for line in lines],
            rollouts=[line.rollouts for line in lines],
            prompts=[line.prompts for line in lines],
            seconds=[_rounded(line.seconds) for line in lines],
            trained=_with_numbers(panels),
            evaluated={"pass@1": dict(sorted(evaluated.items(), reverse=True))} if evaluated else {},
        )


def _with_numbers(panels: Mapping[str, Mapping[str, Sequence[float]]]) -> dict[str, Any]:
    """Return the panels with rounded numbers, without curves that have no number."""
    kept = {
        title: {
            label: [_rounded(value) for value in values]
            for label, values in curves.items()
            if any(map(math.isfinite, values))
        }
        for title, curves in panels.items()
    }
    return {title: curves for title, curves in kept.items() if curves}


def _rounded(value: float) -> float:
    """Return a number with four digits, which are more than a screen shows."""
    return float(f"{value:.4g}")
