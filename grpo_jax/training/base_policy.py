"""The policy that a run starts from: loaded from a checkpoint, or trained from scratch by the warm start."""

from pathlib import Path

import jax

from grpo_jax.policy.huggingface import load_checkpoint
from grpo_jax.runs.directory import RunDirectory
from grpo_jax.runs.ending import StopRequest
from grpo_jax.training.clock import Clock
from grpo_jax.training.display import Display
from grpo_jax.training.experiment import Experiment
from grpo_jax.training.warm_start import finished_warm_start, warm_start
from grpo_jax.types import Params


def make_base_policy(
    experiment: Experiment, run: RunDirectory, clock: Clock, stop: StopRequest, display: Display
) -> Params:
    """Load or make the base policy, and return its parameters on the mesh.

    Raises:
      ConfigError: if the checkpoint cannot be read.
      Interrupted: if a stop was requested. The same command then continues.
    """
    config = experiment.config
    if config.warm_start:
        return warm_start(experiment, config.warm_start, run, clock, stop, display)
    display.doing(f"reading {config.model.checkpoint}")
    params = read_checkpoint(experiment)
    display.note(f"base policy: {config.model.checkpoint}")
    return params


def read_base_policy(experiment: Experiment, workdir: Path) -> Params:
    """Return the parameters of a run's base policy on the mesh. Nothing is made or written.

    Raises:
      ConfigError: if the checkpoint cannot be read.
      FileNotFoundError: if the run's warm start is not finished, or its result is gone.
    """
    if experiment.config.warm_start:
        return finished_warm_start(experiment, workdir)
    return read_checkpoint(experiment)


def read_checkpoint(experiment: Experiment) -> Params:
    """Return the parameters of `model.checkpoint` on the mesh.

    They are float32 if they are trained. With adapters they are never updated, and have the compute dtype.

    Raises:
      ConfigError: if the checkpoint cannot be read.
    """
    policy, model = experiment.programs.policy, experiment.config.model
    shapes = jax.eval_shape(policy.cast, policy.shapes()) if model.lora else policy.shapes()
    dtypes = jax.tree.map(lambda leaf: leaf.dtype, shapes)
    return load_checkpoint(Path(model.checkpoint), policy, experiment.programs.shardings.params, dtypes)
