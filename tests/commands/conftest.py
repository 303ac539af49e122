"""A run that several commands look at."""

import jax
import pytest

from grpo_jax.training import train_config
from tests.helpers import make_config


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """A run of four steps that keeps the checkpoints 2, 3 and 4."""
    changes = {"optimizer__warmup_updates": 1, "optimizer__learning_rate": 1e-2, "evaluation__every": 0}
    changes |= {"checkpoint__every": 1, "checkpoint__keep_last": 3, "checkpoint__keep_best": 0, "train__steps": 4}
    workdir = tmp_path_factory.mktemp("run")
    train_config(make_config(**changes), workdir, devices=jax.devices()[:1])
    return workdir
