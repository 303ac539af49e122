"""Read small files as a whole, write files and directories whole or not at all, and check that a run's inputs exist."""

import glob
import json
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from grpo_jax.config import Config, ConfigError, QuestionsConfig, read_recorded

# The files by which a directory is recognised: that of a run, of a finished run, of a study.
CONFIG_FILE, SUMMARY_FILE, STUDY_FILE = "config.json", "summary.json", "study.json"

logger = logging.getLogger(__name__)


def read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object that a file holds.

    Raises:
      FileNotFoundError: if there is no file.
      ConfigError: if it cannot be read, or holds no object.
    """
    try:
        return json_object(path.read_bytes(), path)
    except FileNotFoundError:
        raise
    except OSError as error:  # a directory, for example
        raise ConfigError(
            f"{path}: cannot be read ({error.strerror}); restore it, or name another directory."
        ) from error


def json_object(content: bytes, place: object) -> dict[str, Any]:
    """Return the JSON object that bytes hold. Raise ConfigError, which names their place, if they hold none."""
    try:
        values = json.loads(content)
    except ValueError as error:
        raise ConfigError(f"{place}: is damaged ({error}); restore it, or name another directory.") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{place}: is damaged (it holds no object); restore it, or name another directory.")
    return values


def run_config(run: Path) -> dict[str, Any]:
    """Return config.json of a run directory. Fields that an earlier version did not record are filled in and logged.

    Raises:
      FileNotFoundError: if there is none.
      ConfigError: if it is damaged, or of a later version.
    """
    if not run.is_dir():
        raise FileNotFoundError(f"{run}: no such directory; name the directory of a run")
    path = run / CONFIG_FILE
    if not path.is_file():
        raise FileNotFoundError(f"{run}: has no config.json; name the directory of a run")
    values = read_json(path)
    try:
        whole, filled = read_recorded(values)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    if filled:
        _log_once(f"{path} {filled} (all: grpo config diff {path} {run})")
    return whole


@cache
def _log_once(note: str) -> None:
    logger.warning("%s", note)


def find_files(path: str) -> list[Path]:
    """Return the files that match a name or pattern, in the same order on every host.

    Raises:
      ConfigError: if there are none, or if one cannot be opened.
    """
    expanded = os.path.expanduser(path)
    # A name comes before a pattern: brackets are allowed in names.
    found = [expanded] if Path(expanded).exists() else sorted(glob.glob(expanded, recursive=True))
    files = [Path(name) for name in found if Path(name).is_file()]
    if not files:
        wrong = "is a directory" if expanded and Path(expanded).is_dir() else "no such file"
        raise ConfigError(f"path={path!r}: {wrong}; name a file, or several by a pattern such as data/*.jsonl.")
    for file in files:
        try:
            file.open("rb").close()
        except OSError as error:
            raise ConfigError(f"path={path!r}: {file} cannot be opened ({error.strerror}).") from error
    return files


def check_inputs(config: Config) -> None:
    """Check that the files a configuration names exist, before any library is loaded that could read them.

    Raises:
      ConfigError: if the directory of the model's checkpoint or tokenizer is missing, or a file of problems.
    """
    directories = {"model.checkpoint": config.model.checkpoint}
    if isinstance(config.task, QuestionsConfig):
        directories["task.tokenizer"] = config.task.tokenizer
        for field, source in (("task.train", config.task.train), ("task.test", config.task.test)):
            if source is not None and source.kind in ("jsonl", "parquet"):
                try:
                    find_files(source.path)
                except ConfigError as error:
                    raise ConfigError(f"{field}.{error}") from error
    for field, path in directories.items():
        if path and not Path(path).is_dir():
            tilde = " (~ is not replaced here)" if path.startswith("~") else ""
            raise ConfigError(
                f"{field}={path!r}: no such directory{tilde}; fetch a model first, with `make smollm2` or "
                "`hf download REPOSITORY --local-dir DIRECTORY`."
            )


def user_cache() -> Path:
    """Return this package's directory in the user's cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "grpo_jax"


def write_whole(path: Path, text: str) -> None:
    """Write a file atomically: it appears, or is replaced, by a rename."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


@contextmanager
def whole_directory(directory: Path) -> Iterator[Path]:
    """Yield a directory to be filled, which gets this name at the end, or is removed if anything fails.

    Raises:
      OSError: if it cannot be made, or if there is already something else of this name than an empty directory.
    """
    directory = directory.absolute()
    temporary = directory.with_name(f".{directory.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)  # of a killed process that had this number
    try:
        temporary.mkdir(parents=True)
        yield temporary
        temporary.rename(directory)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
