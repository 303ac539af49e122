"""JSON files: one record a line, or one list of records. They may be compressed."""

import json
from array import array
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from grpo_jax.config import ConfigError, SourceConfig
from grpo_jax.data.sources.compression import opener
from grpo_jax.data.sources.golds import Number
from grpo_jax.data.sources.records import Records, concatenate
from grpo_jax.files import find_files


def open_json_lines(config: SourceConfig) -> Records:
    """Return the records of all files that match. Lists are kept in memory; of other files, the places of their lines.

    Raises:
      ConfigError: here for a missing file or a broken list; on access for a line that is not a record.
    """
    return concatenate([_open(file, config.path) for file in find_files(config.path)])


def parse(text: str | bytes) -> Any:
    """Return the value of a JSON text, with all digits of its numbers (`Number`).

    Raises:
      ValueError: if it is not JSON or not Unicode, or if an object has a name twice: Python would keep only the last
        value.
      RecursionError: for brackets nested too deeply.
    """
    return json.loads(text, parse_int=Number, parse_float=Number, object_pairs_hook=_once)


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"has the field {next(name for name in names if names.count(name) > 1)!r} twice")
    return found


def _open(file: Path, path: str) -> Records:
    open_file = opener(file, path)
    with open_file() as opened:
        is_list = opened.read(1 << 16).lstrip(_BLANK).startswith(b"[")
    return (_open_list if is_list else _open_lines)(open_file, file, path)


def _open_list(open_file: Callable[[], BinaryIO], file: Path, path: str) -> Records:
    """Return the records of a file that holds one JSON list, which is kept in memory."""

    def where(index: int) -> str:
        return f"{file}, element {index}"

    def read(index: int) -> Mapping[str, Any]:
        if not isinstance(values[index], dict):
            raise _bad(path, where(index), _NO_RECORD)
        return values[index]

    try:
        with open_file() as opened:
            values = parse(opened.read())
    except (ValueError, RecursionError) as error:
        place = f"{file}:{error.lineno}" if isinstance(error, json.JSONDecodeError) else str(file)
        raise _bad(path, place, error) from error
    return Records(len(values), read, where)


def _open_lines(open_file: Callable[[], BinaryIO], file: Path, path: str) -> Records:
    """Return the records of a file with one on each line. Only where the lines begin is kept in memory."""
    starts = array("q")  # bytes before each line; blank lines are skipped
    size = 0
    with open_file() as opened:
        for line in opened:
            if line.strip(_BLANK):
                starts.append(size)
            size += len(line)

    def read(index: int) -> Mapping[str, Any]:
        end = starts[index + 1] if index + 1 < len(starts) else size
        with open_file() as opened:  # anew each time, so that threads can read concurrently
            opened.seek(starts[index])
            line = opened.read(end - starts[index])
        try:
            record = parse(line)
        except (ValueError, RecursionError) as error:
            raise _bad(path, where(index), error) from error
        if not isinstance(record, dict):
            raise _bad(path, where(index), _NO_RECORD)
        return record

    def where(index: int) -> str:
        start = 0
        with open_file() as opened:
            for number, line in enumerate(opened, 1):
                if start == starts[index]:
                    return f"{file}:{number}"
                start += len(line)
        return str(file)  # it has changed since

    return Records(len(starts), read, where)


_BLANK = b"\xef\xbb\xbf \t\r\n"  # white space, and the byte order mark that some programs begin a file with
_NO_RECORD = ValueError("is not a record with fields")


def _bad(path: str, where: str, error: ValueError | RecursionError) -> ConfigError:
    reason = str(error)
    if isinstance(error, RecursionError):
        reason = "holds brackets nested too deeply"
    elif isinstance(error, json.JSONDecodeError):
        reason = f"is not JSON ({error.msg}, column {error.colno})"
    elif isinstance(error, UnicodeDecodeError):
        reason = f"is not UTF-8 ({error.reason})"
    return ConfigError(f"path={path!r}: {where} {reason}; repair or remove it.")
