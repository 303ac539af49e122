"""The policy that a run starts from: loaded from a checkpoint, or made from nothing by the warm start."""

from pathlib import Path

import jax

from grpo_jax.policy.huggingface import load_checkpoint
from grpo_jax.runs.directory import RunDirectory
from grpo_jax.runs.interrupts import StopRequest
from grpo_jax.training.clock import Clock
from grpo_jax.training.display import Display
from grpo_jax.training.experiment import Experiment
from grpo_jax.training.warm_start import finished_warm_start, warm_start
from grpo_jax.types import Params


def make_base_policy(
    experiment: Experiment, run: RunDirectory, clock: Clock, stop: StopRequest, display: Display
) -> Params:
    """The base policy's parameters on the mesh.

    Raises:
      ConfigError: if the checkpoint cannot be read.
      Interrupted: if a stop was requested; the same command then continues.
    """
    config = experiment.config
    if config.warm_start:
        return warm_start(experiment, config.warm_start, run, clock, stop, display)
    display.doing(f"reading {config.model.checkpoint}")
    params = read_checkpoint(experiment)
    display.note(f"base policy: {config.model.checkpoint}")
    return params


def read_base_policy(experiment: Experiment, workdir: Path) -> Params:
    """The base policy's parameters on the mesh, of a run that has one; nothing is made or written.

    Raises:
      ConfigError: if the checkpoint cannot be read.
      FileNotFoundError: if the run's warm start is not finished, or its result is gone.
    """
    if experiment.config.warm_start:
        return finished_warm_start(experiment, workdir)
    return read_checkpoint(experiment)


def read_checkpoint(experiment: Experiment) -> Params:
    """The parameters of `model.checkpoint` on the mesh.

    In float32 if they are trained; below adapters, which leave them as they are, as `Programs.adapt` keeps them.

    Raises:
      ConfigError: if the checkpoint cannot be read.
    """
    policy, model = experiment.programs.policy, experiment.config.model
    shapes = jax.eval_shape(policy.cast, policy.shapes()) if model.lora else policy.shapes()
    dtypes = jax.tree.map(lambda leaf: leaf.dtype, shapes)
    return load_checkpoint(Path(model.checkpoint), policy, experiment.programs.shardings.params, dtypes)
