"""Studies: arms x seeds with paired randomness, which answer a question."""

from grpo_jax.studies.directory import read_study
from grpo_jax.studies.loading import checked_study, load_study
from grpo_jax.studies.runner import commands, cores, run_study
from grpo_jax.studies.study import Arm, Budget, ComparisonPoints, Study, StudyRun

__all__ = [
    "Arm",
    "Budget",
    "ComparisonPoints",
    "Study",
    "StudyRun",
    "checked_study",
    "commands",
    "cores",
    "load_study",
    "read_study",
    "run_study",
]
