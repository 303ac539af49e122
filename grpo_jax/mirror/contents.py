"""Find out which files of a directory belong in a bucket, and group them.

* Checkpoints: the directories `checkpoints/STEP`, at any depth, once they are sealed. Their files never change, but one
  may get a score later, and then its seal is replaced.
* Records: the JSON files at the top, such as config.json and summary.json. They are small and speak of other files.
* All other files. Some of them grow, and some are replaced.
"""

import contextlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from grpo_jax.runs.seals import SEAL

CHECKPOINTS = "checkpoints"
RECORD = ".json"
UNFINISHED = ".tmp"  # how files and directories end that will be renamed
LOCK = "lock"  # means nothing on another machine


class Stamp(NamedTuple):
    """Facts by which a changed file is noticed."""

    size: int
    modified: int  # nanoseconds
    inode: int

    @classmethod
    def of(cls, path: Path) -> "Stamp | None":
        """Return the stamp of a file, or None if there is no such file."""
        try:
            found = path.stat()
        except FileNotFoundError:
            return None
        return cls(found.st_size, found.st_mtime_ns, found.st_ino)


class Record(NamedTuple):
    """A small file, with its content at the time of its stamp or later."""

    stamp: Stamp | None
    content: bytes

    @classmethod
    def of(cls, path: Path) -> "Record":
        """Return a file as a record. Raise FileNotFoundError if there is no such file."""
        return cls(Stamp.of(path), path.read_bytes())


class Sealed(NamedTuple):
    """A checkpoint, with its seal and at least the files that this seal speaks of."""

    seal: Record
    files: Sequence[str]


@dataclass(frozen=True)
class Contents:
    """The files of a directory at a moment, by their names relative to it."""

    records: Mapping[str, Record]
    checkpoints: Mapping[str, Sealed]  # by their directories
    others: Sequence[str]

    @property
    def names(self) -> set[str]:
        """The names of all files."""
        seals = map(seal_of, self.checkpoints)
        return {*self.records, *self.others, *seals, *(name for one in self.checkpoints.values() for name in one.files)}


def look(directory: Path) -> Contents:
    """Return the contents of a directory in which a run may be working.

    Records are read first, and checkpoints are listed before other files. A seal is read before the files of its
    checkpoint are listed. So what a record, a checkpoint or a seal builds on is among the files, and has been written.
    """
    records = {}
    for path in filter(Path.is_file, sorted(directory.glob(f"*{RECORD}"))):
        with contextlib.suppress(FileNotFoundError):  # it was renamed a moment ago
            records[path.name] = Record.of(path)
    checkpoints = {}
    for checkpoint in _checkpoints(directory):
        with contextlib.suppress(FileNotFoundError):  # it was removed a moment ago
            seal = Record.of(directory / seal_of(checkpoint))
            files = _names(directory / checkpoint, directory) - {seal_of(checkpoint)}
            checkpoints[checkpoint] = Sealed(seal, sorted(files))
    others = _names(directory, directory) - records.keys()
    return Contents(records, checkpoints, sorted(name for name in others if checkpoint_of(name) is None))


def is_record(name: str) -> bool:
    """Return whether a file is a record."""
    return "/" not in name and name.endswith(RECORD)


def checkpoint_of(name: str) -> str | None:
    """Return the directory of the checkpoint that a file belongs to; None if it belongs to none."""
    parts = PurePosixPath(name).parts
    if CHECKPOINTS not in parts[:-1]:
        return None
    return "/".join(parts[: parts.index(CHECKPOINTS) + 2])


def seal_of(checkpoint: str) -> str:
    """Return the name of a checkpoint's seal."""
    return f"{checkpoint}/{SEAL}"


def is_step(checkpoint: str) -> bool:
    """Return whether a directory has the name of a finished checkpoint."""
    return checkpoint.rpartition("/")[2].isdigit()


def step_of(checkpoint: str) -> int:
    """Return the step of a checkpoint's directory."""
    return int(checkpoint.rpartition("/")[2])


def whole(names: Iterable[str]) -> list[str]:
    """Return these names without those of checkpoints that have no seal among them."""
    there = set(names)
    of_checkpoint = {name: checkpoint_of(name) for name in there}
    return sorted(name for name, one in of_checkpoint.items() if one is None or seal_of(one) in there)


def _checkpoints(directory: Path) -> list[str]:
    """Return the names of all directories of checkpoints that are sealed, in the order of their steps."""
    found = [
        Path(folder)
        for folder, _, names in os.walk(directory)
        if SEAL in names and is_step(folder) and Path(folder).parent.name == CHECKPOINTS
    ]
    return [path.relative_to(directory).as_posix() for path in sorted(found, key=lambda path: int(path.name))]


def _names(inside: Path, directory: Path) -> set[str]:
    """Return the names of all files in a folder of a directory, without those that vanish meanwhile."""
    found = set()
    for folder, folders, names in os.walk(inside):
        folders[:] = [name for name in folders if not name.endswith(UNFINISHED)]
        found |= {Path(folder, name) for name in names if not name.endswith(UNFINISHED) and name != LOCK}
    return {path.relative_to(directory).as_posix() for path in found}
