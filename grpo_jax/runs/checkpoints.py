"""Checkpoints by Orbax: written in the background, atomically, and checked for damage before they are read."""

import dataclasses
import glob
import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers

from grpo_jax.files import whole_directory
from grpo_jax.policy import trained_of, with_trained
from grpo_jax.processes import barrier, by_all, of_first
from grpo_jax.runs.ending import TrainingError
from grpo_jax.runs.seals import damage, extend_seal, seal, seal_own
from grpo_jax.types import TrainState

logger = logging.getLogger(__name__)

SCORE = "score"
METRICS = "metrics"  # what Orbax calls the part of a checkpoint with its score, and the JSON file therein

# Orbax warns about checkpoints without a score and about read-only directories. Both are intended here.
INTENDED = ("did not provide metrics", "read_only=True", "directory is read only")
logging.getLogger("absl").addFilter(lambda record: not any(text in record.getMessage() for text in INTENDED))


def _without_pattern(directory: Path, *, make: bool) -> Path:
    """Return a path to the same directory without characters that Orbax would take for a pattern.

    Orbax reads the brackets of `x[lr=1e-3]` as a pattern. It would then find no part of a checkpoint, and write
    checkpoints that cannot be read, without any warning.
    """
    if not glob.has_magic(str(directory)):
        return directory
    if make:
        directory.mkdir(parents=True, exist_ok=True)
    return Path(f"/proc/self/fd/{os.open(directory, os.O_RDONLY)}")  # open until the process ends


def _trained(state: TrainState) -> TrainState:
    """Return the state with its trained parameters only, as a checkpoint holds it."""
    return dataclasses.replace(state, params=trained_of(state.params))


class _Sealed(ocp.StandardCheckpointHandler):  # type: ignore[misc]  # Orbax has no types
    """Writes a state. As soon as a process has written its part, it computes the checksums of that part."""

    async def async_save(self, directory: os.PathLike[str], *args: Any, **kwargs: Any) -> list[ocp.future.Future]:
        written = await super().async_save(directory, *args, **kwargs)
        # Orbax waits for this in the background.
        return [ocp.future.ChainedFuture(written or [], lambda: seal_own(Path(directory), jax.process_index()))]


class Checkpoint(NamedTuple):
    """A checkpoint, restored to the devices."""

    step: int
    state: TrainState
    record: dict[str, Any]


class Checkpoints:
    """The checkpoints of one directory.

    A checkpoint holds a state and a JSON record (cursor, seeds, config, clocks). It holds trained parameters only; with
    adapters, the other parameters are those of the base policy. Orbax writes into a temporary directory and renames it,
    so a process that is killed leaves a complete checkpoint or none. Orbax does not detect bytes that have changed on
    the disk since, so each checkpoint also has a seal.

    Args:
      keep_last: the number of newest checkpoints to keep.
      keep_best: the number of checkpoints with the highest scores to keep in addition.
      read_only: write, move and clean up nothing, because another process may be writing here.
    """

    def __init__(self, directory: Path, *, keep_last: int, keep_best: int, read_only: bool = False):
        policies: list[checkpoint_managers.PreservationPolicy] = [checkpoint_managers.LatestN(keep_last)]
        if keep_best:
            policies.append(
                checkpoint_managers.BestN(
                    get_metric_fn=lambda metrics: metrics[SCORE], n=keep_best, keep_checkpoints_without_metrics=False
                )
            )
        self._directory = directory.absolute()
        self._openable = _without_pattern(self._directory, make=not read_only)
        self._read_only, self._scored = read_only, keep_best > 0
        self._options = ocp.CheckpointManagerOptions(
            best_fn=(lambda metrics: metrics[SCORE]) if keep_best else None,  # else Orbax would not store the scores
            preservation_policy=checkpoint_managers.AnyPreservationPolicy(policies),
            cleanup_tmp_directories=not read_only,
            read_only=read_only,
            enable_async_checkpointing=True,
            async_options=ocp.AsyncOptions(post_finalization_callback=self._seal),
        )
        self._manager = self._open()

    def save(self, step: int, state: TrainState, record: Mapping[str, Any], score: float | None = None) -> None:
        """Copy the state and return. The checkpoint is written in the background.

        Args:
          score: decides which checkpoints are the best; None if the policy was not evaluated.
        """
        self._manager.save(
            step,
            args=ocp.args.Composite(
                state=ocp.args.StandardSave(_trained(state)), record=ocp.args.JsonSave(dict(record))
            ),
            metrics=None if score is None else {SCORE: score},
            force=True,
        )

    def add_score(self, step: int, score: float) -> None:
        """Add the score of a finished checkpoint that was saved before its policy was evaluated."""
        if not self._scored or of_first(self._manager.metrics(step) is not None):
            return
        if jax.process_index() == 0:
            checkpoint = self._directory / str(step)
            with whole_directory(checkpoint / METRICS) as metrics:
                (metrics / METRICS).write_text(json.dumps({SCORE: score}), encoding="utf-8")
            extend_seal(checkpoint, f"{METRICS}/{METRICS}")
        barrier(f"score of checkpoint {step}")
        self._manager.reload()

    def restore_latest(self, like: TrainState) -> Checkpoint | None:
        """Return the newest checkpoint that is not damaged, or None if there is none.

        A damaged checkpoint is skipped with a warning, and the one before it is tried. Unless read-only, it is also
        moved to `<directory>_damaged`.

        Args:
          like: a state of the same shapes and shardings, of arrays or ShapeDtypeStructs. The parameters that are not
            trained are taken from it.
        """
        for step in of_first(sorted(self._manager.all_steps(), reverse=True)):
            reason = self._damage(step)
            if not reason:
                return self._restore(step, like)
            logger.warning("checkpoint %d is damaged (%s); falling back to the one before it", step, reason)
            if not self._read_only:
                self._move_aside(step)
        return None

    def restore_best(self, like: TrainState) -> Checkpoint | None:
        """Return the checkpoint with the highest score, or None if none has one. Raise ValueError if it is damaged."""
        step = of_first(self._manager.best_step() if self._scored else None)
        return None if step is None else self._restore_sound(step, like, "the best checkpoint")

    def restore_step(self, step: int, like: TrainState) -> Checkpoint | None:
        """Return the checkpoint of a step, or None if it is not kept. Raise ValueError if it is damaged."""
        kept = of_first(step in self._manager.all_steps())
        return self._restore_sound(step, like, "this checkpoint") if kept else None

    def _restore_sound(self, step: int, like: TrainState, which: str) -> Checkpoint:
        reason = self._damage(step)
        if reason:
            raise ValueError(f"{self._directory / str(step)}: {which} is damaged ({reason}); take another")
        return self._restore(step, like)

    def _restore(self, step: int, like: TrainState) -> Checkpoint:
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, _trained(like))
        restored = self._manager.restore(
            step, args=ocp.args.Composite(state=ocp.args.StandardRestore(abstract), record=ocp.args.JsonRestore())
        )
        params = with_trained(like.params, restored.state.params)
        return Checkpoint(step, dataclasses.replace(restored.state, params=params), dict(restored.record))

    def close(self) -> None:
        """Wait until every checkpoint is on the disk, and release the directory."""
        self._manager.wait_until_finished()
        self._manager.close()

    def _open(self) -> ocp.CheckpointManager:
        registry, handler = ocp.handlers.DefaultCheckpointHandlerRegistry(), _Sealed()
        for arguments in (ocp.args.StandardSave, ocp.args.StandardRestore):
            registry.add("state", arguments, handler)
        return ocp.CheckpointManager(self._openable, options=self._options, handler_registry=registry)

    def _seal(self) -> None:
        """Seal a checkpoint. On the first process, Orbax calls this when all have written, before it renames it."""
        for unfinished in self._directory.glob("*.orbax-checkpoint-tmp*"):
            seal(unfinished)

    def _damage(self, step: int) -> str:
        """Return what is wrong with a checkpoint, as a clause, or "". Each process examines a share of it."""
        folder, index, number = self._directory / str(step), jax.process_index(), jax.process_count()
        return next(filter(None, by_all(lambda: damage(folder, index, number), TrainingError)), "")

    def _move_aside(self, step: int) -> None:
        self._manager.close()
        if jax.process_index() == 0:
            damaged = self._directory.with_name(self._directory.name + "_damaged")
            damaged.mkdir(exist_ok=True)
            before = sum(1 for path in damaged.iterdir() if path.name.split("_")[0] == str(step))
            (self._directory / str(step)).rename(damaged / (f"{step}_{before}" if before else str(step)))
        barrier(f"checkpoint {step} moved aside")
        self._manager = self._open()
