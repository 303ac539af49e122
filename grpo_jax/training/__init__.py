"""Training: what a configuration builds, the update, checkpoints, and the loop."""

from grpo_jax.training.display import Display, Silent
from grpo_jax.training.errors import Interrupted, TrainingError
from grpo_jax.training.experiment import Experiment, build
from grpo_jax.training.loop import train

__all__ = ["Display", "Experiment", "Interrupted", "Silent", "TrainingError", "build", "train"]
