"""Studies: arms x seeds with paired randomness, to settle a question."""

from grpo_jax.studies.loading import load_study, read_study
from grpo_jax.studies.runner import commands, run_study
from grpo_jax.studies.study import Arm, Budget, Comparison, Run, Study

__all__ = ["Arm", "Budget", "Comparison", "Run", "Study", "commands", "load_study", "read_study", "run_study"]
