"""summary.json: the result of a run, from its metrics."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from grpo_jax.config import Config, digest, to_dict
from grpo_jax.data import Split
from grpo_jax.runs.lines import Measured, RunMetrics, Scores, TrainLine
from grpo_jax.runs.versions import versions


def summarize_run(config: Config, metrics: RunMetrics, seconds: Mapping[str, float], updates: int) -> dict[str, Any]:
    """The result of a finished run.

    Args:
      seconds: by phase; see `Clock`.
      updates: optimizer steps taken.
    """
    test = {line.step: line.scores for line in metrics.of_split(Split.TEST)}
    last = metrics.training[-1]
    differences = [line.measured.get(Measured.SAMPLER_DIFFERENCE, math.nan) for line in metrics.training]
    return {
        "base": result_of(test[0]),
        "final": result_of(test[config.train.steps]),
        "prompts": last.prompts,
        "rollouts": last.rollouts,
        "updates": updates,
        "valid_pair_share": _signal_share(metrics.training),
        "sampler_difference": max(filter(math.isfinite, differences), default=0.0),
        "seconds": dict(seconds),
        "steps": config.train.steps,
        "seed": config.seed,
        "config_hash": digest(to_dict(config)),
        "versions": versions(),
    }


def _signal_share(training: Sequence[TrainLine]) -> float:
    """Of all groups that were sampled; with resampling, steps differ in how many these are."""
    groups = np.diff([line.prompts for line in training], prepend=0)
    return float(np.average([line.sampled.signal_share for line in training], weights=groups))


def result_of(scores: Scores) -> dict[str, Any]:
    """Return what a summary repeats of an evaluation."""
    first, last = scores.pass_at[0], scores.pass_at[-1]
    return {
        "pass@1": first.value,
        "pass@k": last.value,
        "maj@k": scores.majority.value,
        "k": scores.samples,
        "mean_length": scores.mean_length,
        "truncated_share": scores.truncated_share,
        "problems": scores.problems,
        "interval": {"pass@1": [first.low, first.high], "pass@k": [last.low, last.high]},
        "pass@k curve": [share.value for share in scores.pass_at],
    }
