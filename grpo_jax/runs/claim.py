"""The owner of a directory: one configuration and one set of inputs, however often a command is started in it."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grpo_jax.config import ROUNDING, ConfigError, Recorded, covers, differences
from grpo_jax.files import CONFIG_FILE, STUDY_FILE
from grpo_jax.processes import on_any_process, unlike_on_processes
from grpo_jax.runs.agreement import on_first
from grpo_jax.runs.directory import FOLDERS, RunDirectory
from grpo_jax.runs.inputs import Inputs, changes, digest_files, problems_of
from grpo_jax.runs.provenance import Provenance, Start
from grpo_jax.runs.record import RunRecord, read_record, write_record


@dataclass(frozen=True)
class Claimed:
    """The outcome of claiming a directory."""

    notes: tuple[str, ...]  # lines for the user
    changed: Mapping[str, tuple[Any, Any]]  # fields of the configuration, before and now


def check_hosts(ours: Mapping[str, Any], inputs: Inputs, start: Start) -> None:
    """Check that all hosts of a run have the same inputs, before they compute anything together.

    Raises:
      ConfigError: on every host, if they differ in configuration, inputs, code or versions.
    """
    unlike = unlike_on_processes(
        {
            "the configuration": ours,
            **{problems_of(split): digests.to_json() for split, digests in sorted(inputs.problems.items())},
            "the tokenizer": inputs.tokenizer.to_json(),
            "the model's files": inputs.policy,
            "your own code": inputs.code,
            "the source of grpo_jax": start.code.digest,
            "versions of Python and libraries": start.versions,
        }
    )
    if unlike:
        raise ConfigError(
            f"--distributed: the hosts differ in {', '.join(unlike)}; give all of them the same command, files and "
            "packages."
        )


def claim(
    directory: RunDirectory,
    ours: Mapping[str, Any],
    inputs: Inputs,
    start: Start,
    *,
    folders: Sequence[str] = FOLDERS,
    free: Sequence[str] = (),
    rounding: Sequence[str] = ROUNDING,
    veto: Callable[[Mapping[str, Any]], str] = lambda theirs: "",
    read: Callable[[Mapping[str, Any]], Recorded] = lambda theirs: Recorded(dict(theirs), ""),
) -> Claimed:
    """Make and lock a directory for a configuration, or check that it holds this configuration, and record this start.

    The first process decides for all.

    Args:
      ours: the values for config.json.
      inputs: the digests of what is read now.
      start: the record of this start.
      folders: the folders to make in the directory.
      free: fields whose values may have changed.
      rounding: fields on which numbers depend by rounding, by their names in `ours`.
      veto: returns a clause that says why `ours` cannot continue the values of config.json; "" if it can.
      read: completes the values of config.json, which an earlier version may have written.

    Raises:
      ConfigError: if the directory belongs to another configuration or to a study, if the inputs have changed since it
        was begun, if another process is running in it, or if it cannot be used.
    """
    notes, changed = on_first(lambda: _claim(directory, ours, inputs, start, folders, free, rounding, veto, read))
    if on_any_process(directory.read_json(CONFIG_FILE) != ours):
        raise ConfigError(f"--workdir={directory.path}: not all hosts see it; name a directory that they share.")
    return Claimed(tuple(notes), changed)


def keep_base(directory: RunDirectory, base: Path) -> None:
    """Record the digest of the base policy that the warm start has made, or compare it with the recorded one.

    Args:
      base: its file in the directory.

    Raises:
      ConfigError: if the base policy has changed. Adapters and a KL term would silently refer to another policy.
    """

    def keep() -> None:
        record, (now,) = read_record(directory), digest_files(directory.path, [str(base)]).values()
        if not record or not record.inputs:
            return
        if record.inputs.base_policy not in (None, now):
            raise ConfigError(
                f"--workdir={directory.path}: {base} is not the base policy that the run was begun with; restore "
                "that file, or name another directory to begin anew."
            )
        inputs = dataclasses.replace(record.inputs, base_policy=now)
        write_record(directory, dataclasses.replace(record, inputs=inputs))

    on_first(keep)


def _claim(
    directory: RunDirectory,
    ours: Mapping[str, Any],
    inputs: Inputs,
    start: Start,
    folders: Sequence[str],
    free: Sequence[str],
    rounding: Sequence[str],
    veto: Callable[[Mapping[str, Any]], str],
    read: Callable[[Mapping[str, Any]], Recorded],
) -> tuple[list[str], dict[str, Any]]:
    """Claim the directory on the first process. Return the notes and the fields that have changed."""
    if (directory.path / STUDY_FILE).exists():
        raise ConfigError(f"--workdir={directory.path}: is the directory of a study; name another one for a run.")
    theirs, record = directory.read_json(CONFIG_FILE), read_record(directory)
    if theirs and not theirs.keys() & ours.keys():  # such as that of an evaluation, or of a model
        raise ConfigError(
            f"--workdir={directory.path}: has a config.json of another command or program; name another directory."
        )
    if theirs is None or directory.untouched:
        directory.create(folders)
        directory.write_json(CONFIG_FILE, ours)
        # The starts of the same configuration so far ended before anything was computed.
        earlier = record.provenance.starts if record and theirs == ours else []
        write_record(directory, RunRecord(inputs, Provenance([*earlier, start], forked_from=None)))
        return [], {}
    try:
        whole, filled = read(theirs)
    except ConfigError as error:
        raise ConfigError(f"--workdir={directory.path}: config.json: {error}") from error
    _check_configuration(directory, whole, ours, free, veto)
    notes = [f"config.json {filled} (it has them all now)"] if filled else []
    notes += _check_inputs(directory, record, inputs)
    directory.create(folders)
    changed = {one.field: (one.first, one.second) for one in differences(whole, ours)}
    notes += [f"{field}: {before!r} so far, {now!r} from here on" for field, (before, now) in changed.items()]
    so_far = record.provenance if record else Provenance([], forked_from=None, begun_unrecorded=True)
    last = so_far.starts[-1] if so_far.starts else start
    if last.devices != start.devices:
        notes.append(f"continued on other devices: {last.devices} so far, now {start.devices}")
    if last.devices != start.devices or any(covers(rounding, field) for field in changed):
        notes.append("numbers may differ in their last digits from those of an uninterrupted run")
    if last.code.digest != start.code.digest:
        notes.append(f"continued with other code: {last.code} so far, now {start.code}")
    start = dataclasses.replace(start, changed=changed or None)
    write_record(
        directory,
        RunRecord(
            _completed(record.inputs if record else None, inputs),
            dataclasses.replace(so_far, starts=[*so_far.starts, start]),
        ),
    )
    if theirs != ours:
        directory.write_json(CONFIG_FILE, ours)
    return notes, changed


def _check_configuration(
    directory: RunDirectory,
    theirs: Mapping[str, Any],
    ours: Mapping[str, Any],
    free: Sequence[str],
    veto: Callable[[Mapping[str, Any]], str],
) -> None:
    where = f"--workdir={directory.path}"
    found = differences(theirs, ours, free=free)
    if found:
        field, before, now = found[0]
        raise ConfigError(
            f"{where}: holds a run of another configuration ({field} is {before!r} there and {now!r} here); "
            "name another directory, or repeat the run's own command to continue it."
        )
    if reason := veto(theirs):
        raise ConfigError(f"{where}: {reason}.")


def _check_inputs(directory: RunDirectory, record: RunRecord | None, inputs: Inputs) -> list[str]:
    """Return notes for the user. Raise ConfigError if the inputs have changed since the run was begun."""
    if record is None or record.inputs is None:
        return [f"{directory.path}: was begun before inputs were recorded, so they cannot be compared"]
    clauses = changes(record.inputs, inputs)
    if clauses:
        raise ConfigError(
            f"--workdir={directory.path}: its inputs have changed since it was begun: {'; '.join(clauses)}; "
            "restore them, or name another directory to begin anew."
        )
    return []


def _completed(recorded: Inputs | None, inputs: Inputs) -> Inputs:
    """Return the recorded inputs, with the splits that are read for the first time now."""
    if recorded is None:
        return inputs
    return dataclasses.replace(recorded, problems={**inputs.problems, **recorded.problems})
