"""JSON files: one record a line, or one list of records."""

import json
from array import array
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from grpo_jax.config import ConfigError, SourceConfig
from grpo_jax.data.sources.files import find_files
from grpo_jax.data.sources.records import Records, concatenate


def open_json_lines(config: SourceConfig) -> Records:
    """The records of all files that match. Of files with a record a line, only the places of the lines are kept.

    Raises:
      ConfigError: now, for a missing file and a broken list; when a line is read that is no record, then.
    """
    return concatenate([_open(file, config.path) for file in find_files(config.path)])


def _open(file: Path, path: str) -> Records:
    with file.open("rb") as opened:
        is_list = opened.read(64).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"[")
    return _open_list(file, path) if is_list else _open_lines(file, path)


def _open_list(file: Path, path: str) -> Records:
    def where(index: int) -> str:
        return f"{file}, element {index}"

    def read(index: int) -> Mapping[str, Any]:
        if not isinstance(values[index], dict):
            raise _bad(path, where(index), _NO_RECORD)
        return values[index]

    try:
        values = json.loads(file.read_bytes())
    except (ValueError, RecursionError) as error:
        place = f"{file}:{error.lineno}" if isinstance(error, json.JSONDecodeError) else str(file)
        raise _bad(path, place, error) from error
    return Records(len(values), read, where)


def _open_lines(file: Path, path: str) -> Records:
    starts = array("q")  # bytes before each line; blank ones are passed over
    size = 0
    with file.open("rb") as opened:
        for line in opened:
            if not line.isspace():
                starts.append(size)
            size += len(line)

    def read(index: int) -> Mapping[str, Any]:
        end = starts[index + 1] if index + 1 < len(starts) else size
        with file.open("rb") as opened:  # anew each time, so that threads can read side by side
            opened.seek(starts[index])
            line = opened.read(end - starts[index])
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise _bad(path, where(index), error) from error
        if not isinstance(record, dict):
            raise _bad(path, where(index), _NO_RECORD)
        return record

    def where(index: int) -> str:
        start = 0
        with file.open("rb") as opened:
            for number, line in enumerate(opened, 1):
                if start == starts[index]:
                    return f"{file}:{number}"
                start += len(line)
        return str(file)  # it has changed since

    return Records(len(starts), read, where)


_NO_RECORD = ValueError("is not a record with fields")


def _bad(path: str, where: str, error: ValueError | RecursionError) -> ConfigError:
    reason = str(error)
    if isinstance(error, RecursionError):
        reason = "holds brackets within brackets, too many to read"
    elif isinstance(error, json.JSONDecodeError):
        reason = f"is not JSON ({error.msg}, column {error.colno})"
    elif isinstance(error, UnicodeDecodeError):
        reason = f"is not UTF-8 ({error.reason})"
    return ConfigError(f"path={path!r}: {where} {reason}; repair or remove it.")
