"""A run directory, back as an experiment and a state: for notebooks, tools and whatever looks at a policy later."""

import dataclasses
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import jax

from grpo_jax.config import MeshConfig, from_dict
from grpo_jax.training.checkpoints import Checkpoints, Restored
from grpo_jax.training.experiment import Experiment, build
from grpo_jax.training.run_directory import RunDirectory


def restore(
    workdir: Path,
    devices: Sequence[jax.Device] | None = None,
    mesh: MeshConfig | None = None,
    *,
    best: bool = False,
) -> tuple[Experiment, Restored]:
    """What a run's configuration builds, and its newest sound checkpoint. The run may still be going on.

    Args:
      devices: where to build it; all if None. They need not be those of the run.
      mesh: over these devices; the run's if None.
      best: the checkpoint with the highest validation pass@1 in place of the newest.

    Raises:
      ConfigError: if the mesh does not cover the devices.
      ValueError: if the best checkpoint is damaged.
      FileNotFoundError: if the directory holds no run, or one without a checkpoint yet.
    """
    values = RunDirectory(workdir).read_json("config.json")
    if values is None:
        raise FileNotFoundError(f"{workdir}: has no config.json; name the directory of a run")
    config = from_dict(values)
    config = dataclasses.replace(config, mesh=mesh or config.mesh)
    experiment = build(config, devices)
    saved = workdir / "checkpoints"
    if not saved.is_dir():
        raise FileNotFoundError(f"{workdir}: has no checkpoint yet; let the run come to its first one")
    like = experiment.init_state(experiment.init_params(jax.random.key(0)))
    keep = config.checkpoint
    with closing(Checkpoints(saved, keep_last=keep.keep_last, keep_best=keep.keep_best, read_only=True)) as checkpoints:
        restored = checkpoints.restore_best(like) if best else checkpoints.restore_latest(like)
    if restored is None:
        wanted = "with a score" if best else "that is sound"
        raise FileNotFoundError(f"{saved}: holds no checkpoint {wanted}; continue the run to make one")
    return experiment, restored
