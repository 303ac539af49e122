"""What the runs of a study left behind, as curves and numbers."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from grpo_jax.config import ConfigError
from grpo_jax.studies import Budget, Run, Study
from grpo_jax.training.run_directory import RunDirectory

TRAINING_PHASES = ("sampling", "rewards", "update")


@dataclass(frozen=True)
class Curve:
    """The validation of one run: pass@1 at every evaluation, and what had been spent by then."""

    pass_at_1: Float[np.ndarray, " evaluations"]
    spent: Mapping[Budget, Float[np.ndarray, " evaluations"]]


@dataclass(frozen=True)
class Finished:
    """A finished run."""

    directory: Path
    config: Mapping[str, Any]
    summary: Mapping[str, Any]
    curve: Curve

    @property
    def training_seconds(self) -> float:
        """Of sampling, rewards and updates: without compilation, evaluation and start."""
        return sum(self.summary["seconds"].get(phase, 0.0) for phase in TRAINING_PHASES)


@dataclass(frozen=True)
class Results:
    """A study's runs, of the seeds that all arms have finished."""

    study: Study
    seeds: tuple[int, ...]
    arms: Mapping[str, Sequence[Finished]]  # in the order of the seeds
    missing: tuple[str, ...]  # runs that are not finished

    @property
    def others(self) -> list[str]:
        """The arms that are compared with the baseline."""
        return [name for name in self.arms if name != self.study.baseline]


def read_results(study: Study, workdir: Path) -> Results:
    """The finished runs of a study.

    Raises:
      ConfigError: if fewer than two seeds are finished by all arms, or runs differ in the standard deviation's ddof.
    """
    missing = tuple(f"{run.arm.name}, seed {run.seed}" for run in study.runs() if not run.finished(workdir))
    seeds = tuple(seed for seed in study.seeds if all(Run(arm, seed).finished(workdir) for arm in study.arms))
    if len(seeds) < 2:
        raise ConfigError(
            f"{workdir}: {len(seeds)} seeds are finished by all arms, and a comparison needs two; continue the study "
            f"(missing are {'; '.join(missing[:4])}...)."
        )
    arms = {arm.name: [_read(Run(arm, seed).directory(workdir)) for seed in seeds] for arm in study.arms}
    ddofs = {name: {run.config["objective"]["std_ddof"] for run in runs} for name, runs in arms.items()}
    if len(set(itertools.chain(*ddofs.values()))) > 1:
        raise ConfigError(
            f"{workdir}: runs differ in objective.std_ddof ({ddofs}): that compares scales of the gradient, so no "
            "table is made of them; run the arms with one ddof."
        )
    return Results(study, seeds, arms, missing)


def _read(directory: Path) -> Finished:
    run = RunDirectory(directory)
    summary, config, lines = run.read_json("summary.json"), run.read_json("config.json"), run.metrics()
    assert summary is not None
    assert config is not None
    training = {line["step"]: line for line in lines if line["kind"] == "train"}
    validation = [line for line in lines if line["kind"] == "evaluation" and line["split"] == "VALIDATION"]
    tokens = dict(zip(training, itertools.accumulate(line["tokens"] for line in training.values()), strict=True))
    at = [line["step"] for line in validation]

    def spent(name: str) -> np.ndarray:
        return np.array([training[step][name] if step else 0.0 for step in at], np.float64)

    budgets: dict[Budget, np.ndarray] = {
        "rollouts": spent("rollouts"),
        "prompts": spent("prompts"),
        "updates": spent("updates"),
        "seconds": spent("seconds"),
        "tokens": np.array([tokens[step] if step else 0.0 for step in at], np.float64),
    }
    return Finished(directory, config, summary, Curve(np.array([line["pass@1"] for line in validation]), budgets))
