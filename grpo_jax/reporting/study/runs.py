"""The finished runs of a study, as curves and numbers."""

import itertools
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from grpo_jax.config import Config, ConfigError, counted, from_dict
from grpo_jax.data import Split
from grpo_jax.runs.directory import RunDirectory
from grpo_jax.runs.summary import Summary
from grpo_jax.studies import Budget, Study, StudyRun


@dataclass(frozen=True)
class Curve:
    """The validation of one run: pass@1 at every evaluation, and the budget spent by then."""

    pass_at_1: Float[np.ndarray, " evaluations"]
    spent: Mapping[Budget, Float[np.ndarray, " evaluations"]]


@dataclass(frozen=True)
class Finished:
    """A finished run."""

    directory: Path
    config: Config
    summary: Summary
    curve: Curve


@dataclass(frozen=True)
class Results:
    """A study's runs with the seeds that all arms have finished."""

    study: Study
    seeds: tuple[int, ...]
    arms: Mapping[str, Sequence[Finished]]  # in the order of the seeds
    missing: tuple[str, ...]  # runs that are not finished

    @property
    def others(self) -> list[str]:
        """The names of the arms that are compared with the baseline."""
        return [name for name in self.arms if name != self.study.baseline]


def read_results(study: Study, workdir: Path) -> Results:
    """Return the finished runs of a study.

    Raises:
      ConfigError: if all arms have finished fewer than two seeds, if the pass@1 of one is not known, or if runs differ
        in the standard deviation's ddof.
    """
    missing = tuple(f"{run.arm.name}, seed {run.seed}" for run in study.runs() if not run.finished(workdir))
    seeds = tuple(seed for seed in study.seeds if all(StudyRun(arm, seed).finished(workdir) for arm in study.arms))
    if len(seeds) < 2:
        remedy = f"continue the study (missing are {'; '.join(missing[:4])}...)" if missing else "add seeds to it"
        raise ConfigError(
            f"{workdir}: all arms have finished {counted(len(seeds), 'seed')}, but a comparison needs two; {remedy}."
        )
    arms = {arm.name: [read_run(StudyRun(arm, seed).directory(workdir)) for seed in seeds] for arm in study.arms}
    check_scale(arms, workdir)
    return Results(study, seeds, arms, missing)


def check_scale(arms: Mapping[str, Sequence[Finished]], workdir: Path) -> None:
    """Raise ConfigError if runs differ in the standard deviation's ddof."""
    ddofs = {name: {run.config.objective.std_ddof for run in runs} for name, runs in arms.items()}
    if len(set(itertools.chain(*ddofs.values()))) > 1:
        raise ConfigError(
            f"{workdir}: runs differ in objective.std_ddof ({ddofs}), so a table would compare scales of the gradient; "
            "run the arms with one ddof."
        )


def read_run(directory: Path) -> Finished:
    """Return a finished run.

    Raises:
      FileNotFoundError: if the directory has none.
      ConfigError: if its pass@1 is not known.
    """
    run = RunDirectory(directory)
    (config, summary), metrics = run.finished(), run.metrics()
    validation = metrics.of_split(Split.VALIDATION)
    budgets: tuple[Budget, ...] = typing.get_args(Budget)
    spent = {budget: np.array(metrics.spent(budget, validation), np.float64) for budget in budgets}
    pass_at_1 = np.array([line.scores.pass_at[0].value for line in validation])
    if not summary.final.pass_at_1.known or np.isnan(pass_at_1).any():
        raise ConfigError(
            f"{directory}: pass@1 is not known, because its reward does not say what is right or judged nothing, so "
            "there is nothing to compare; leave it out, or run it with a term that judges answers, such as mathematics."
        )
    return Finished(directory, from_dict(config), summary, Curve(pass_at_1, spent))
