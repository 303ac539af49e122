"""Whose a run directory is: one configuration's, whoever comes to it and however often."""

from collections.abc import Mapping, Sequence
from typing import Any

from grpo_jax.config import ConfigError
from grpo_jax.processes import on_any_process
from grpo_jax.training.run_directory import FOLDERS, RunDirectory


def claim(directory: RunDirectory, ours: Mapping[str, Any], folders: Sequence[str] = FOLDERS) -> None:
    """Makes and locks the directory for what these plain values describe, or finds that it is theirs already.

    Args:
      ours: what config.json is to hold.
      folders: to make in it.

    Raises:
      ConfigError: if it is another's, or a study's, if another process is running in it, or if it cannot be used.
    """
    if (directory.path / "study.json").exists():
        raise ConfigError(f"--workdir={directory.path}: is the directory of a study; name another for a run.")
    theirs = directory.read_json("config.json")
    if theirs is not None and theirs != ours and not directory.untouched:
        raise ConfigError(
            f"--workdir={directory.path}: holds a run of another configuration ({_first_difference(theirs, ours)}); "
            "name another directory, or repeat the run's own command to continue it."
        )
    problem = None
    try:
        directory.create(folders)
        if theirs != ours:
            directory.write_json("config.json", ours)
    except ConfigError as error:
        problem = error
    if on_any_process(problem is not None):
        raise problem or ConfigError(f"--workdir={directory.path}: the first host cannot use it; see its message.")
    if on_any_process(directory.read_json("config.json") != ours):
        raise ConfigError(f"--workdir={directory.path}: not all hosts see it; name a directory that they share.")


def _first_difference(theirs: Any, ours: Any, path: str = "") -> str:
    if isinstance(theirs, dict) and isinstance(ours, dict):
        for name in [*theirs, *(set(ours) - set(theirs))]:
            if theirs.get(name) != ours.get(name):
                return _first_difference(theirs.get(name), ours.get(name), f"{path}.{name}" if path else name)
    return f"{path} is {theirs!r} there and {ours!r} here"
