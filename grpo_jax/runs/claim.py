"""Whose a directory is: one configuration's and one set of inputs', whoever comes to it and however often."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grpo_jax.config import ROUNDING, ConfigError, Recorded, covers, differences
from grpo_jax.files import CONFIG_FILE, STUDY_FILE
from grpo_jax.processes import on_any_process, unlike_on_processes
from grpo_jax.runs.agreement import on_first
from grpo_jax.runs.directory import FOLDERS, RunDirectory
from grpo_jax.runs.inputs import BASE, Inputs, changes, digest_files, problems_of
from grpo_jax.runs.provenance import FILE, code_of, devices_of, same_code


@dataclass(frozen=True)
class Claimed:
    """What is to be told of a directory that is ours now."""

    notes: tuple[str, ...]
    changed: Mapping[str, tuple[Any, Any]]  # fields of the configuration, before and now


def check_hosts(ours: Mapping[str, Any], inputs: Inputs, start: Mapping[str, Any]) -> None:
    """Compare what the hosts of a run have before them, before they compute anything together.

    Raises:
      ConfigError: on all of them, if they differ in the configuration, in what they read, or in code and versions.
    """
    read = inputs.as_json()
    unlike = unlike_on_processes(
        {
            "the configuration": ours,
            **{problems_of(split): digests for split, digests in sorted(read["problems"].items())},
            "the tokenizer": read["tokenizer"],
            "the model's files": read["policy"],
            "your own code": read["code"],
            "the source of grpo_jax": start["code"]["digest"],
            "versions of Python and libraries": start["versions"],
        }
    )
    if unlike:
        raise ConfigError(
            f"--distributed: the hosts do not have the same before them, they differ in {', '.join(unlike)}; give all "
            "of them the same command, files and packages."
        )


def claim(
    directory: RunDirectory,
    ours: Mapping[str, Any],
    inputs: Inputs,
    start: Mapping[str, Any],
    *,
    folders: Sequence[str] = FOLDERS,
    free: Sequence[str] = (),
    veto: Callable[[Mapping[str, Any]], str] = lambda theirs: "",
    read: Callable[[Mapping[str, Any]], Recorded] = lambda theirs: Recorded(dict(theirs), ""),
) -> Claimed:
    """Make and lock the directory for what these values describe, or find that it is theirs, and record the start.

    The first process looks and decides; the others go its way.

    Args:
      ours: what config.json is to hold.
      inputs: what is read now.
      start: the record of this start.
      folders: to make in the directory.
      free: fields that may be others than so far.
      veto: why these values cannot follow on those of config.json, as a clause; "" if they can.
      read: completes config.json, which an earlier version may have written.

    Raises:
      ConfigError: if the directory is another's, or a study's, if what was read has changed since it was begun, if
        another process is running in it, or if it cannot be used.
    """
    notes, changed = on_first(lambda: _claim(directory, ours, inputs, start, folders, free, veto, read))
    if on_any_process(directory.read_json(CONFIG_FILE) != ours):
        raise ConfigError(f"--workdir={directory.path}: not all hosts see it; name a directory that they share.")
    return Claimed(tuple(notes), changed)


def keep_base(directory: RunDirectory, base: Path) -> None:
    """Record which base policy the warm start has made, or find that it is still that one.

    Args:
      base: its file in the directory.

    Raises:
      ConfigError: if it is another, which adapters and a KL term would silently be relative to.
    """

    def keep() -> None:
        record, (now,) = directory.read_json(FILE), digest_files(directory.path, [str(base)]).values()
        if not record or not record["inputs"]:
            return
        if record["inputs"].setdefault(BASE, now) != now:
            raise ConfigError(
                f"--workdir={directory.path}: {base} is not the base policy that the run was begun with; restore it, "
                "or name another directory to begin anew."
            )
        directory.write_json(FILE, record)

    on_first(keep)


def _claim(
    directory: RunDirectory,
    ours: Mapping[str, Any],
    inputs: Inputs,
    start: Mapping[str, Any],
    folders: Sequence[str],
    free: Sequence[str],
    veto: Callable[[Mapping[str, Any]], str],
    read: Callable[[Mapping[str, Any]], Recorded],
) -> tuple[list[str], dict[str, Any]]:
    """The notes, and the fields that have changed."""
    if (directory.path / STUDY_FILE).exists():
        raise ConfigError(f"--workdir={directory.path}: is the directory of a study; name another for a run.")
    theirs, record = directory.read_json(CONFIG_FILE), directory.read_json(FILE)
    if theirs is None or directory.untouched:
        directory.create(folders)
        directory.write_json(CONFIG_FILE, ours)
        earlier = record["starts"] if record and theirs == ours else []  # of which nothing has come
        directory.write_json(FILE, {"inputs": inputs.as_json(), "forked_from": None, "starts": [*earlier, start]})
        return [], {}
    try:
        whole, filled = read(theirs)
    except ConfigError as error:
        raise ConfigError(f"--workdir={directory.path}: config.json: {error}") from error
    _check_configuration(directory, whole, ours, free, veto)
    notes = [f"config.json {filled}"] if filled else []
    notes += _check_inputs(directory, record, inputs)
    directory.create(folders)
    changed = {one.field: (one.first, one.second) for one in differences(whole, ours)}
    notes += [f"{field}: {before!r} so far, {now!r} from here on" for field, (before, now) in changed.items()]
    last = record["starts"][-1] if record and record["starts"] else start
    if last["devices"] != start["devices"]:
        notes.append(f"continued on other devices: {devices_of(last)} so far, now {devices_of(start)}")
    if last["devices"] != start["devices"] or any(covers(ROUNDING, field) for field in changed):
        notes.append("numbers may differ in their last digits from those of a run that was not continued in this way")
    if not same_code(last, start):
        notes.append(f"continued with other code: {code_of(last)} so far, now {code_of(start)}")
    record = record or {"inputs": None, "forked_from": None, "starts": [], "begun_unrecorded": True}
    directory.write_json(
        FILE,
        {
            **record,
            "inputs": _completed(record["inputs"], inputs),
            "starts": [*record["starts"], {**start, "changed": changed} if changed else start],
        },
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


def _check_inputs(directory: RunDirectory, record: Mapping[str, Any] | None, inputs: Inputs) -> list[str]:
    """The notes to tell. Raises ConfigError if what was read at the beginning has changed."""
    if record is None or record["inputs"] is None:
        return [f"{directory.path}: was begun before inputs were recorded, so nothing tells whether they are the same"]
    clauses = changes(record["inputs"], inputs.as_json())
    if clauses:
        raise ConfigError(
            f"--workdir={directory.path}: what it had read when it was begun has changed: {'; '.join(clauses)}; "
            "restore that, or name another directory to begin anew."
        )
    return []


def _completed(recorded: Mapping[str, Any] | None, inputs: Inputs) -> dict[str, Any]:
    """What was recorded, with the splits that are read since."""
    now = inputs.as_json()
    return {**now, **recorded, "problems": {**now["problems"], **recorded["problems"]}} if recorded else now
