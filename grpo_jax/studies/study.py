"""What a study is."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from grpo_jax.config import CONFIGURATION, SHIPPED, Config, find_file, load
from grpo_jax.files import SUMMARY_FILE

Budget = Literal["rollouts", "prompts", "updates", "tokens", "seconds"]


@dataclass(frozen=True)
class Arm:
    """One way to train."""

    name: str
    config: str  # a config file, or the name of a shipped one
    overrides: Mapping[str, str]  # dotted field -> text, as on the command line

    @property
    def config_path(self) -> Path:
        """The config file; a relative path begins where configs/ is, or where the command runs. Raises ConfigError."""
        beside = SHIPPED.parent / self.config  # of an absolute path, that path
        return beside if beside.is_file() else find_file(self.config, CONFIGURATION).absolute()

    @property
    def slug(self) -> str:
        """The name as a directory's."""
        return re.sub(r"[^a-z0-9.=+-]+", "-", self.name.lower()).strip("-")

    def configuration(self, seed: int) -> Config:
        """Of one run. Raises ConfigError."""
        return load(self.config_path, [*self.overrides.items(), ("seed", str(seed))])


@dataclass(frozen=True)
class ComparisonPoints:
    """Budgets at which the arms' validation curves are compared; one table."""

    budget: Budget
    at: tuple[float, ...]


@dataclass(frozen=True)
class StudyRun:
    """An arm with a seed."""

    arm: Arm
    seed: int

    def directory(self, workdir: Path) -> Path:
        """The run directory in that of the study."""
        return workdir / "runs" / self.arm.slug / f"seed_{self.seed}"

    def finished(self, workdir: Path) -> bool:
        return (self.directory(workdir) / SUMMARY_FILE).exists()


@dataclass(frozen=True)
class Study:
    """A question, and the runs that answer it.

    Runs of one seed see the same prompts in the same order and share their sampling keys (a key is of the seed, step,
    prompt, sample and position), the base policy and the test: so arms are compared seed by seed.
    """

    name: str
    question: str
    arms: tuple[Arm, ...]
    baseline: str  # the arm that the others are compared with
    seeds: tuple[int, ...]
    matched: Budget  # what all arms have spent equally at their ends
    comparisons: tuple[ComparisonPoints, ...]
    targets: tuple[float, ...]  # of validation pass@1, whose cost is reported

    def runs(self) -> Iterator[StudyRun]:
        """All runs, seed by seed, so that what is there of an unfinished study is paired."""
        return (StudyRun(arm, seed) for seed in self.seeds for arm in self.arms)
