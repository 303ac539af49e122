"""Restore an experiment and a policy from a run directory, for notebooks, tools and evaluations."""

import dataclasses
import logging
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import jax

from grpo_jax.config import (
    CheckpointConfig,
    Config,
    ConfigError,
    MeshConfig,
    from_dict,
    own_code,
    source_digests,
)
from grpo_jax.data import Split
from grpo_jax.runs.checkpoints import Checkpoint, Checkpoints
from grpo_jax.runs.directory import BASE_POLICY, RunDirectory, check_kept, kept_steps
from grpo_jax.runs.inputs import (
    Inputs,
    changed_code,
    changed_policy,
    changed_problems,
    changed_tokenizer,
    checkpoint_files,
    digest_files,
    digest_tokenizer,
)
from grpo_jax.runs.record import read_record, recorded_date
from grpo_jax.training.abstract_inputs import abstract_state
from grpo_jax.training.base_policy import read_base_policy
from grpo_jax.training.experiment import Experiment, build
from grpo_jax.types import Params, TrainState

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Restored:
    """A policy of a run, restored to the devices."""

    step: int
    params: Params  # of `experiment.programs.policy`: to sample, evaluate and export. Adapters are merged into kernels
    state: TrainState  # from which the run continues; with LoRA, state.params holds the adapters separately


def read_config(workdir: Path) -> Config:
    """Return the configuration of a run. Raise FileNotFoundError if the directory holds none."""
    return from_dict(RunDirectory(workdir).config())


def restore(
    workdir: Path,
    devices: Sequence[jax.Device] | None = None,
    mesh: MeshConfig | None = None,
    *,
    best: bool = False,
    step: int | None = None,
    policy_only: bool = False,
) -> tuple[Experiment, Restored]:
    """Build a run's experiment, and restore its newest checkpoint that is not damaged. The run may still be going on.

    The tokenizer must be the one that the run read, and so must the base policy if it is read. Changes in the user's
    own code are logged as warnings, because that code decides rewards but not the policy.

    Args:
      devices: the devices to build it on; all if None. They need not be those of the run.
      mesh: the mesh over these devices; the run's if None.
      best: take the checkpoint with the highest validation pass@1 instead of the newest.
      step: take the checkpoint of this step instead of the newest. 0 is the base policy, which a run always keeps.
      policy_only: for callers that neither judge nor train. No reward of questions and no objective of the user's is
        imported, and `experiment.programs.objective` is not that of the run.

    Raises:
      ConfigError: if the mesh does not cover the devices, if the model's checkpoint is missing and adapters need it, or
        if the tokenizer or that checkpoint has changed since the run read it.
      ValueError: if the requested checkpoint, the best one or that of a step, is damaged.
      FileNotFoundError: if the directory holds no run, or the run has no such checkpoint yet.
    """
    config = read_config(workdir)
    check_kept(workdir, step)
    config = dataclasses.replace(config, mesh=mesh or config.mesh)
    date = recorded_date(RunDirectory(workdir))
    built = config
    if policy_only:
        built = dataclasses.replace(config, objective=dataclasses.replace(config.objective, name="grpo", parameters={}))
    experiment = build(built, devices, date, judges=not policy_only)
    experiment = dataclasses.replace(experiment, config=config)
    saved = workdir / "checkpoints"
    from_base = step == 0 and step not in kept_steps(saved)
    _check_inputs(experiment, workdir, policy=from_base or config.model.lora is not None)
    if from_base:
        return experiment, _base(experiment, workdir)
    like = abstract_state(experiment.programs)
    if config.model.lora:
        like = dataclasses.replace(like, params=experiment.programs.adapt(read_base_policy(experiment, workdir)))
    found = _read(workdir, config.checkpoint, like, best, step)
    return experiment, Restored(found.step, experiment.programs.merge(found.state.params), found.state)


def check_problems(experiment: Experiment, workdir: Path) -> None:
    """Raise ConfigError if the training problems are not those that the run read."""
    inputs = _inputs(workdir)
    if inputs:
        _refuse(workdir, changed_problems(inputs, experiment.task, Split.TRAIN))


def _inputs(workdir: Path) -> Inputs | None:
    """Return the recorded digests of the run's inputs, or None if there are none."""
    record = read_record(RunDirectory(workdir))
    return record.inputs if record else None


def _check_inputs(experiment: Experiment, workdir: Path, *, policy: bool) -> None:
    """Raise ConfigError if the tokenizer, or with `policy` the base policy, has changed since the run read it."""
    inputs, config = _inputs(workdir), experiment.config
    if not inputs:
        return
    clauses = changed_tokenizer(inputs.tokenizer, digest_tokenizer(config, experiment.task))
    if policy:
        clauses += changed_policy(inputs.policy, checkpoint_files(config))
        own = {str(BASE_POLICY): inputs.base_policy} if inputs.base_policy else {}
        clauses += changed_policy(own, digest_files(workdir, own))
    _refuse(workdir, clauses)
    for clause in changed_code(inputs.code, {path: source_digests(path) for path in own_code(config)}):
        logger.warning("%s: %s since the run was begun", workdir, clause)


def _refuse(workdir: Path, clauses: Sequence[str]) -> None:
    if clauses:
        raise ConfigError(f"{workdir}: its inputs have changed since it was begun: {'; '.join(clauses)}; restore them.")


def _read(workdir: Path, keep: CheckpointConfig, like: TrainState, best: bool, step: int | None) -> Checkpoint:
    saved = workdir / "checkpoints"
    with closing(Checkpoints(saved, keep_last=keep.keep_last, keep_best=keep.keep_best, read_only=True)) as checkpoints:
        if step is not None:
            found = checkpoints.restore_step(step, like)
        else:
            found = checkpoints.restore_best(like) if best else checkpoints.restore_latest(like)
    if found is not None:
        return found
    if best and step is None:
        raise FileNotFoundError(f"{saved}: holds no checkpoint with a score; {_without_best(workdir, keep)}")
    wanted = "without damage" if step is None else f"of step {step}"
    raise FileNotFoundError(f"{saved}: holds no checkpoint {wanted}; continue the run to make one")


def _without_best(workdir: Path, keep: CheckpointConfig) -> str:
    """Return why a run has no best checkpoint, and what to do, as a clause."""
    if not keep.keep_best:
        return "the run keeps no best one (checkpoint.keep_best=0), so take its newest"
    validated = RunDirectory(workdir).metrics().of_split(Split.VALIDATION)
    if validated and not any(line.scores.pass_at[0].known for line in validated):
        return "its reward does not say what is right, so validation pass@1 is not known; take the newest"
    return "continue the run to make one"


def _base(experiment: Experiment, workdir: Path) -> Restored:
    """Restore the policy before the first update, whose checkpoint is no longer kept."""
    state = experiment.programs.init_state(experiment.programs.adapt(read_base_policy(experiment, workdir)))
    return Restored(0, experiment.programs.merge(state.params), state)
