"""Forks: a fork is a copy of a run at a checkpoint, and continues as a run of its own."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grpo_jax.config import (
    CHANGEABLE_FREELY,
    INHERITED,
    ROUNDING,
    Config,
    ConfigError,
    covers,
    differences,
    digest,
    to_dict,
)
from grpo_jax.files import CONFIG_FILE, whole_directory
from grpo_jax.runs.directory import BASE_POLICY, METRICS_FILE, RunDirectory, kept_steps
from grpo_jax.runs.lines import Stage
from grpo_jax.runs.provenance import ForkedFrom, Provenance
from grpo_jax.runs.record import RunRecord, forked_from, provenance_of, read_record, write_record
from grpo_jax.runs.seals import damage

# The fields that decided the batches which a checkpoint holds if `rollout.delay` is not 0.
OF_IN_FLIGHT = ("seed", "rollout", "objective")


@dataclass(frozen=True)
class Origin:
    """The run and the step that a fork starts from."""

    run: Path
    step: int | None  # of a checkpoint; None: the newest

    @classmethod
    def parse(cls, text: str) -> "Origin":
        """Read RUN or RUN@STEP."""
        run, at, step = text.rpartition("@")
        if at and step.isdecimal() and not Path(text).exists():
            return cls(Path(run), int(step))
        return cls(Path(text), None)


def fork(directory: RunDirectory, config: Config, origin: Origin) -> list[str]:
    """Copy a run as it was at a checkpoint into a new directory, and return notes for the user.

    State, position among the prompts, successes, clocks, metrics, rollouts and evaluations are those of that step. The
    next step is therefore the run's next step, under this configuration. The digests of the run's inputs are copied
    too, so other inputs are refused. A directory that already is this fork stays as it is, unless the fork was never
    begun, for example because of a mistake in its configuration.

    Raises:
      ConfigError: if there is no such checkpoint, if a field that a fork inherits differs, or if the directory holds
        anything else or is in use.
    """
    run = origin.run.absolute()
    if directory.path.exists() and not directory.path.is_dir():
        raise ConfigError(f"--workdir={directory.path}: is a file; name a new directory for a fork.")
    if directory.locked:
        raise ConfigError(f"--workdir={directory.path}: another process is running in it; name a new one for a fork.")
    provenance, forked = provenance_of(directory), forked_from(directory)
    begun = bool(provenance and provenance.starts)
    if not directory.untouched and (begun or not forked):  # else nothing was computed here
        if not forked or Path(forked.run) != run or origin.step not in (None, forked.step):
            holds = "another run" if directory.read_json(CONFIG_FILE) else "other files"
            raise ConfigError(
                f"--from={origin.run}: {directory.path} holds {holds} already; name a new --workdir for a fork."
            )
        return []
    source = RunDirectory(origin.run)
    try:
        theirs = source.config()
    except FileNotFoundError as error:
        raise ConfigError(f"--from={error}.") from error
    step = _step(origin)
    _check(origin, theirs, config, step)
    _copy(source, directory.path, step, config)
    return [f"forked from {origin.run} at step {step}"]


def _step(origin: Origin) -> int:
    saved = origin.run / "checkpoints"
    kept = kept_steps(saved)
    if origin.step is None:
        sound = [step for step in reversed(kept) if not damage(saved / str(step))]
        if not sound:
            raise ConfigError(
                f"--from={origin.run}: has no checkpoint without damage yet; continue the run until it has one."
            )
        return sound[0]
    if origin.step not in kept:
        there = ", ".join(map(str, kept)) or "none"
        raise ConfigError(
            f"--from={origin.run}@{origin.step}: no checkpoint of this step is kept; the kept ones are {there}."
        )
    if reason := damage(saved / str(origin.step)):
        raise ConfigError(f"--from={origin.run}@{origin.step}: this checkpoint is damaged ({reason}); take another.")
    return origin.step


def _check(origin: Origin, theirs: Mapping[str, Any], config: Config, step: int) -> None:
    inherited = (*INHERITED, *OF_IN_FLIGHT) if theirs["rollout"]["delay"] else INHERITED
    for one in differences(theirs, to_dict(config), free=(*CHANGEABLE_FREELY, *ROUNDING)):
        if covers(inherited, one.field):
            raise ConfigError(
                f"--from={origin.run}: {one.field} is {one.first!r} there and {one.second!r} here; this fork "
                f"inherits {', '.join(inherited)} from its run, and may differ in everything else."
            )
    if config.train.steps <= step:
        raise ConfigError(
            f"--from={origin.run}: is at step {step}, and train.steps={config.train.steps}; raise it, because "
            "a fork continues to count from there."
        )


def _copy(source: RunDirectory, to: Path, step: int, config: Config) -> None:
    """Copy a run's files up to a step. The new directory appears by a rename."""
    to = to.absolute()
    try:
        with whole_directory(to) as temporary:
            shutil.copytree(source.path / "checkpoints" / str(step), temporary / "checkpoints" / str(step))
            for folder in ("rollouts", "evaluation"):
                (temporary / folder).mkdir()
                for path in sorted((source.path / folder).glob("*.jsonl")):
                    if int(path.name[:6]) <= step:
                        shutil.copy2(path, temporary / folder)
            for path in (Path(METRICS_FILE), BASE_POLICY):
                if (source.path / path).exists():
                    (temporary / path).parent.mkdir(exist_ok=True)
                    shutil.copy2(source.path / path, temporary / path)
            copy = RunDirectory(temporary)
            copy.rewind(Stage.TRAIN, step)
            record = read_record(source)
            copy.write_json(CONFIG_FILE, to_dict(config))
            forked = ForkedFrom(
                run=str(source.path.absolute()),
                step=step,
                config_hash=digest(source.config()),
                starts=record.provenance.starts if record else [],
            )
            write_record(copy, RunRecord(record.inputs if record else None, Provenance([], forked)))
            if to.exists():
                shutil.rmtree(to)  # nothing was computed there
    except OSError as error:
        raise ConfigError(f"--workdir={to}: cannot be written to ({error.strerror}); name another.") from error
