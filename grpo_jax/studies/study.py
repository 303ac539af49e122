"""A study, its arms and its runs."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from grpo_jax.config import CONFIGURATION, SHIPPED, Config, find_file, load
from grpo_jax.files import SUMMARY_FILE

# Fields in which the arms of a study differ only if it says so.
VARIABLE = ("rollout.delay",)
Budget = Literal["rollouts", "prompts", "updates", "tokens", "seconds"]


@dataclass(frozen=True)
class Arm:
    """One way to train."""

    name: str
    config: str  # a config file, or the name of a shipped one
    overrides: Mapping[str, str]  # dotted field -> text, as on the command line

    @property
    def config_path(self) -> Path:
        """The config file's path, beside configs/ or in the current directory. Raises ConfigError if there is none."""
        beside = SHIPPED.parent / self.config  # an absolute path stays as it is
        return beside if beside.is_file() else find_file(self.config, CONFIGURATION).absolute()

    @property
    def slug(self) -> str:
        """The arm's name as the name of a directory."""
        return re.sub(r"[^a-z0-9.=+-]+", "-", self.name.lower()).strip("-")

    def configuration(self, seed: int) -> Config:
        """Return the configuration of a run with this seed. Raises ConfigError."""
        return load(self.config_path, [*self.overrides.items(), ("seed", str(seed))])


@dataclass(frozen=True)
class ComparisonPoints:
    """The points of one budget at which the arms' validation curves are compared, in one table."""

    budget: Budget
    at: tuple[float, ...]


@dataclass(frozen=True)
class StudyRun:
    """An arm with a seed."""

    arm: Arm
    seed: int

    def directory(self, workdir: Path) -> Path:
        """Return the run's directory in the study's."""
        return workdir / "runs" / self.arm.slug / f"seed_{self.seed}"

    def finished(self, workdir: Path) -> bool:
        return (self.directory(workdir) / SUMMARY_FILE).exists()


@dataclass(frozen=True)
class Study:
    """A question, and the runs that answer it.

    Arms are compared seed by seed: runs of one seed have the same prompts in the same order, the same sampling keys (a
    key depends on seed, step, prompt, sample and position), the same base policy and the same test.
    """

    name: str
    question: str
    arms: tuple[Arm, ...]
    baseline: str  # the arm that the others are compared with
    seeds: tuple[int, ...]
    matched: Budget  # the budget of which all arms have spent the same at their ends
    comparisons: tuple[ComparisonPoints, ...]
    targets: tuple[float, ...]  # of validation pass@1; the cost to reach them is reported
    varies: tuple[str, ...] = ()  # fields of `VARIABLE` in which arms may differ, because the question is about them

    def runs(self) -> Iterator[StudyRun]:
        """Return all runs, seed by seed, so that the finished runs of an unfinished study are paired."""
        return (StudyRun(arm, seed) for seed in self.seeds for arm in self.arms)
