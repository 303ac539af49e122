"""Training: experiments, the update, the loop, and what is done with its runs later."""

from grpo_jax.runs.ending import Interrupted, TrainingError
from grpo_jax.runs.fork import Origin
from grpo_jax.training.display import Display, Noticed, Silent
from grpo_jax.training.experiment import Experiment, build
from grpo_jax.training.replay import replay
from grpo_jax.training.restore import restore
from grpo_jax.training.start import FORESEEN, train, train_config
from grpo_jax.training.suites import evaluate_suites

__all__ = [
    "FORESEEN",
    "Display",
    "Experiment",
    "Interrupted",
    "Noticed",
    "Origin",
    "Silent",
    "TrainingError",
    "build",
    "evaluate_suites",
    "replay",
    "restore",
    "train",
    "train_config",
]
