"""Bring a directory to an address, so that the address always holds a run that can be continued.

A run continues from its newest checkpoint that has a seal. It needs the lines that were written before, and a record
speaks of files that must be there, too. So files come first, then checkpoints, each with its seal last, then records;
objects whose files are gone are removed at the end. Wherever this is cut off, the files there are newer than the
checkpoints, and a run that continues cuts off the lines that are too new.
"""

import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from grpo_jax.mirror.contents import (
    Contents,
    Record,
    Sealed,
    Stamp,
    checkpoint_of,
    is_record,
    is_step,
    look,
    seal_of,
    step_of,
)
from grpo_jax.mirror.remote import Remote
from grpo_jax.runs.seals import SEAL

COPY = "copy_"  # prefix of the copies of files that may grow, beside the directory
AT_ONCE = 8  # objects; a single connection is slower than most networks


class Emptied(Exception):
    """Somebody has removed the directory, or what is in it."""


class Upload:
    """Brings a directory to an address, again and again, and only what has changed."""

    def __init__(
        self,
        directory: Path,
        remote: Remote,
        known: MutableMapping[str, Stamp | None],
        before_each: Callable[[], None] = lambda: None,
    ):
        """Prepare uploads.

        Args:
          known: the objects that are there, with the stamps of the files that were uploaded; None where these are not
            known. It is kept up to date.
          before_each: called before each change at the address. If it raises, the upload ends.
        """
        self._directory, self._remote, self._known, self._before_each = directory, remote, known, before_each
        self.moved = time.monotonic()  # when anything, even a part of an object, was last brought or removed

    def bring(self) -> None:
        """Bring all that has changed. Errors of the store pass through; then a part of it is there.

        Raises:
          Emptied: if the directory has lost its records, which no run does. Then nothing is removed at the address.
        """
        now = self._look()
        self._remove([name for name in self._known if _taken_back(name, now)])
        self._bring_files(now.others)
        for checkpoint, sealed in now.checkpoints.items():
            self._bring_checkpoint(seal_of(checkpoint), sealed)
        for name, record in now.records.items():
            self._bring_record(name, record)
        if gone := sorted(self._known.keys() - now.names, key=_removed_first):
            self._look()  # the files may have vanished because the directory is being removed
            self._remove(gone)

    def missing(self) -> list[str]:
        """Return the names of files that are not there as they are now, and of objects that no file has any more."""
        names = look(self._directory).names
        changed = (name for name in names if self._known.get(name) != Stamp.of(self._directory / name))
        return sorted({*changed, *(self._known.keys() - names)})

    def _look(self) -> Contents:
        now = look(self._directory)
        if not now.records and any(map(is_record, self._known)):
            raise Emptied(f"{self._directory} was removed or emptied")
        return now

    def _bring_files(self, names: Sequence[str]) -> None:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for _ in pool.map(self._bring_file, names):
                pass

    def _bring_checkpoint(self, seal: str, sealed: Sealed) -> None:
        """Bring a checkpoint, unless it is there, or removed meanwhile. Then it gets no seal there."""
        if sealed.seal.stamp != self._known.get(seal):
            self._remove([seal] if seal in self._known else [])  # it speaks of other files
            self._bring_files(sealed.files)
            if all(self._known.get(name) for name in sealed.files):
                self._bring_record(seal, sealed.seal)

    def _bring_record(self, name: str, record: Record) -> None:
        """Bring a record as it was read, if it has changed."""
        if record.stamp != self._known.get(name):
            self._before_each()
            self._remote.write(name, record.content)
            self._brought(name, record.stamp)

    def _bring_file(self, name: str) -> None:
        """Bring a file if it has changed; do nothing if it is gone."""
        path = self._directory / name
        stamp = Stamp.of(path)
        if stamp is None or stamp == self._known.get(name):
            return
        self._before_each()
        try:
            with tempfile.NamedTemporaryFile(dir=self._directory.parent, prefix=COPY) as copy:
                if checkpoint_of(name) is None:  # it may grow, and a store wants as many bytes as were promised
                    path = Path(shutil.copyfile(path, copy.name))
                self._remote.upload(path, name, self._progress)
        except FileNotFoundError:
            if Stamp.of(self._directory / name) is not None:  # something else was not found
                raise
            return
        self._brought(name, stamp)

    def _brought(self, name: str, stamp: Stamp | None) -> None:
        self._known[name] = stamp
        self._progress()

    def _progress(self) -> None:
        self.moved = time.monotonic()

    def _remove(self, names: Iterable[str]) -> None:
        for name in names:
            self._before_each()
            self._remote.remove(name)
            self._known.pop(name)
            self._progress()


def _removed_first(name: str) -> int:
    """Return 0 for records, 1 for seals and 2 for what these speak of."""
    return 0 if is_record(name) else 2 - name.endswith(SEAL)


def _taken_back(name: str, now: Contents) -> bool:
    """Return whether an object is the seal of a checkpoint that the directory has lost and that is too new now.

    Such a checkpoint was damaged. Lines of its steps were cut off, so no other machine may continue from it.
    """
    checkpoint = checkpoint_of(name)
    if checkpoint is None or name != seal_of(checkpoint) or not is_step(checkpoint) or checkpoint in now.checkpoints:
        return False
    siblings = [other for other in now.checkpoints if other.rpartition("/")[0] == checkpoint.rpartition("/")[0]]
    return all(step_of(other) < step_of(checkpoint) for other in siblings)
