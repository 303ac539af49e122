"""Runs for tests of commands."""

from pathlib import Path

import jax

from grpo_jax.training import train_config
from tests.helpers import make_config


def four_steps(workdir: Path, every: int) -> Path:
    """Make a run of four steps with this checkpoint interval. It keeps the last three checkpoints."""
    changes = {"optimizer__warmup_updates": 1, "optimizer__learning_rate": 1e-2, "evaluation__every": 0}
    changes |= {"checkpoint__every": every, "checkpoint__keep_last": 3, "checkpoint__keep_best": 0, "train__steps": 4}
    train_config(make_config(**changes), workdir, devices=jax.devices()[:1])
    return workdir
