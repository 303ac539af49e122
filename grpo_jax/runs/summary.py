"""summary.json: the result of a run, from its metrics."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from grpo_jax.config import Config, digest, to_dict
from grpo_jax.runs.versions import versions


def summarize_run(
    config: Config, metrics: Sequence[Mapping[str, Any]], seconds: Mapping[str, float], updates: int
) -> dict[str, Any]:
    """The result of a finished run.

    Args:
      metrics: the lines of metrics.jsonl.
      seconds: by phase; see `Clock`.
      updates: optimizer steps taken.
    """
    test = {line["step"]: line for line in metrics if line["kind"] == "evaluation" and line["split"] == "TEST"}
    training = [line for line in metrics if line["kind"] == "train"]
    return {
        "base": result_of(test[0]),
        "final": result_of(test[config.train.steps]),
        "prompts": training[-1]["prompts"],
        "rollouts": training[-1]["rollouts"],
        "updates": updates,
        "valid_pair_share": _valid_share(training),
        "sampler_difference": max((line.get("sampler_difference") or 0.0 for line in training), default=0.0),
        "seconds": dict(seconds),
        "steps": config.train.steps,
        "seed": config.seed,
        "config_hash": digest(to_dict(config)),
        "versions": versions(),
    }


def _valid_share(training: Sequence[Mapping[str, Any]]) -> float:
    """Of all groups that were sampled; with resampling, steps differ in how many these are."""
    groups = np.diff([line["prompts"] for line in training], prepend=0)
    return float(np.average([line["valid_pair_share"] for line in training], weights=groups))


def result_of(line: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a summary repeats of an evaluation, a line of metrics.jsonl."""
    n = line["samples"]
    return {
        "pass@1": line["pass@1"],
        "pass@k": line[f"pass@{n}"],
        "maj@k": line[f"maj@{n}"],
        "k": n,
        "mean_length": line["mean_length"],
        "truncated_share": line["truncated_share"],
        "problems": line["problems"],
        "interval": {"pass@1": line["interval"]["pass@1"], "pass@k": line["interval"][f"pass@{n}"]},
        "pass@k curve": [line[f"pass@{k}"] for k in range(1, n + 1)],
    }
