"""The working copy of an address, for as long as a process works in it.

Which of the two is newer? Each start of a process at an address has an id, which stands there and beside the working
copy. If both are the same, nobody else has worked there since, and the working copy has all that is there, and perhaps
more. Otherwise the address counts, and the working copy is moved aside and made anew.
"""

import contextlib
import fcntl
import json
import os
import re
import signal
import threading
import time
import uuid
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grpo_jax.config import ConfigError, command_line, one_line
from grpo_jax.files import json_object, user_cache, write_whole
from grpo_jax.json_record import JsonRecord
from grpo_jax.mirror.contents import Stamp, look
from grpo_jax.mirror.download import download, holds_a_directory, objects
from grpo_jax.mirror.ownership import SIGN_SECONDS, Numbered, Ownership, newest_owner
from grpo_jax.mirror.remote import Remote
from grpo_jax.mirror.upload import COPY, Emptied, Upload

UPLOAD_SECONDS = 30.0  # between two uploads; longer if they take longer
RETRY_SECONDS = 5.0  # at the end
STALL_SECONDS = 300.0  # without progress, after which the end of a run waits no longer


class NotUploaded(RuntimeError):
    """Some files are not at the address. The text says which, why, and what the user can do."""


def is_address(text: str) -> bool:
    """Return whether a text is an address, as in gs://BUCKET/runs/a, and not a path."""
    return bool(command_line.ADDRESS.fullmatch(text))


def stored(address: str, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return those of some JSON files that `working_copy` would yield. No other file is fetched, and none is written.

    Args:
      address: as for `working_copy`.
      names: of files, such as config.json.

    Raises:
      ConfigError: if the address cannot be used, or if a file is damaged.
    """
    remote = Remote.at(address)
    cache = _cache_of(remote.address)
    with _refusing(remote):
        ours = _is_current(cache, newest_owner(remote))
        contents = {name: _read(cache / "run" / name) if ours else remote.read(name) for name in names}
    where = cache / "run" if ours else remote.address
    return {name: json_object(content, f"{where}/{name}") for name, content in contents.items() if content is not None}


@contextmanager
def working_copy(address: str, note: Callable[[str], None]) -> Iterator[Path]:
    """Yield a directory on this machine whose content is brought to an address, in the background and at the end.

    If the address holds something newer, the directory is made from it before. If another process takes the address
    over, this one gets SIGTERM, as if it was asked to stop.

    Args:
      address: of an object store, as in gs://BUCKET/runs/a.
      note: shows a line, from any thread.

    Raises:
      ConfigError: before anything is yielded, if the address cannot be used, or if a process is working there.
      NotUploaded: at the end, if not everything is at the address.
    """
    remote = Remote.at(address)
    cache = _cache_of(remote.address)
    with _locked(cache, remote.address):
        with _refusing(remote):
            mirror = _begin(remote, cache, note)
        try:
            yield mirror.directory
        except BaseException:
            if problem := mirror.close():
                note(f"warning: {problem}")
            raise
        if problem := mirror.close():
            raise NotUploaded(problem)


@contextmanager
def _refusing(remote: Remote) -> Iterator[None]:
    """Raise ConfigError about the address if the store raises anything."""
    try:
        yield
    except ConfigError:
        raise
    except Exception as error:  # each store has errors of its own
        raise ConfigError(
            f"--workdir={remote.address}: cannot be used ({_said(error)}); check its name, the network, and that you "
            "may read and write there."
        ) from error


@dataclass(frozen=True)
class _State(JsonRecord):
    """Facts about the address, kept beside the working copy."""

    ids: Sequence[str]  # of starts after which the working copy has all that is at the address
    known: Mapping[str, Stamp]  # objects that were uploaded, and the stamps of their files

    @classmethod
    def read(cls, cache: Path) -> "_State":
        try:
            return cls.from_json(json.loads((cache / "state.json").read_text(encoding="utf-8")))
        except (OSError, KeyError, TypeError, ValueError):  # what it holds can be found out otherwise
            return cls([], {})

    def write(self, cache: Path) -> None:
        write_whole(cache / "state.json", json.dumps(self.to_json()))


def _is_current(cache: Path, newest: Numbered | None) -> bool:
    """Return whether the working copy has all that is at the address, and perhaps more.

    Args:
      newest: the newest owner of the address.
    """
    directory = cache / "run"
    return bool(newest and newest.owner.id in _State.read(cache).ids and directory.is_dir() and look(directory).records)


def _begin(remote: Remote, cache: Path, note: Callable[[str], None]) -> "_Mirror":
    """Become the owner of an address, make the working copy the newer of the two, and start the uploads."""
    directory, state, id = cache / "run", _State.read(cache), uuid.uuid4().hex
    objects(remote)  # which may refuse the address, before this start leaves anything there
    earlier = newest_owner(remote)
    ours = _is_current(cache, earlier)
    if ours and earlier:  # the lock says that this owner has ended, and this start follows it
        _State([earlier.owner.id, id], state.known).write(cache)
    owner = Ownership.take(remote, id, None if ours else earlier, note)
    with owner.preparing():  # a download may take longer than others wait for a sign
        there = objects(remote)
        known: dict[str, Stamp | None] = {}  # without an earlier owner nothing there was uploaded: nothing is removed
        if earlier:
            known |= {name: state.known.get(name) if ours else None for name in there}
        if not ours:
            if directory.exists():
                aside = cache / f"superseded_{time.strftime('%Y%m%d_%H%M%S')}"
                directory.rename(aside)
                note(f"{remote.address}: holds something else than before; the working copy so far is now {aside}")
            if holds_a_directory(there):
                known |= download(remote, there, directory, note)
            directory.mkdir(exist_ok=True)
        note(f"{remote.address}: the working copy is {directory}")
        mirror = _Mirror(remote, directory, known, owner, note, id)
        mirror.start()
    return mirror


class _Mirror:
    """Threads that bring a working copy to its address, and give signs of its owner."""

    def __init__(
        self,
        remote: Remote,
        directory: Path,
        known: dict[str, Stamp | None],
        owner: Ownership,
        note: Callable[[str], None],
        id: str,
    ):
        self.directory = directory
        self._remote, self._known, self._owner, self._note, self._id = remote, known, owner, note, id
        self._upload = Upload(directory, remote, known, self._look_for_successor)
        self._closing = threading.Event()
        self._error: Exception | None = None  # of the newest upload that is over
        self._over = ""  # why nothing more may be uploaded, as a sentence
        self._uploads = threading.Thread(target=self._run, name="uploads", daemon=True)
        self._signs = threading.Thread(target=self._sign, name="signs", daemon=True)

    def start(self) -> None:
        """Start the threads."""
        self._save()
        self._uploads.start()
        self._signs.start()

    def close(self) -> str:
        """Upload the rest, and end. Return a sentence that says what is not at the address; "" if all is there."""
        self._upload.moved = time.monotonic()
        self._closing.set()
        while self._uploads.is_alive() and time.monotonic() < self._upload.moved + STALL_SECONDS:
            self._uploads.join(1.0)
        if not self._uploads.is_alive():
            self._signs.join()
        if self._over:
            return self._over
        missing = self._upload.missing()
        if not missing:
            with contextlib.suppress(Exception):  # then the next start waits for silence
                self._owner.sign(ended=True)
            return ""
        why = _said(self._error) if self._error else f"no progress for {STALL_SECONDS:.0f} s"
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        return (
            f"{self._remote.address}: it does not have the newest {', '.join(missing[:3])}{more} ({why}). They are in "
            f"{self.directory}; the same command on this machine brings them there."
        )

    def _run(self) -> None:
        pause = UPLOAD_SECONDS
        while not self._closing.wait(pause) and not self._over:
            began = time.monotonic()
            self._try()
            pause = max(UPLOAD_SECONDS, time.monotonic() - began)
        while not self._over and not self._try():
            if time.monotonic() > self._upload.moved + STALL_SECONDS:
                return
            time.sleep(RETRY_SECONDS)

    def _try(self) -> bool:
        """Upload what has changed. Return whether that succeeded."""
        address, before = self._remote.address, self._error
        try:
            self._upload.bring()
            self._error = None
        except _TakenOver:
            return False
        except Emptied as error:
            self._over = (
                f"{address}: {error}; what was uploaded before is there, and the same command continues from it."
            )
            self._note(f"warning: {self._over}")
            return False
        except Exception as error:  # each store has errors of its own
            self._error = error
            if before is None:
                self._note(
                    f"warning: {address}: cannot be written to ({_said(error)}); the run goes on, and this is tried "
                    "again"
                )
            return False
        finally:
            with contextlib.suppress(OSError):  # a full disk, for example: what is not known is uploaded again
                self._save()
        if before:
            self._note(f"{address}: can be written to again, and is up to date")
        return True

    def _look_for_successor(self) -> None:
        """Raise _TakenOver if another process is the owner. Then this one is asked to stop, once."""
        if not self._over and (successor := self._owner.successor()):
            self._over = (
                f"{self._remote.address}: a process on {successor.host} has taken over, because nothing was heard from "
                f"this one; what is not there is in {self.directory}."
            )
            if not self._closing.is_set():  # then it is stopping already, and nothing would catch the signal
                os.kill(os.getpid(), signal.SIGTERM)
        if self._over:
            raise _TakenOver

    def _sign(self) -> None:
        while self._uploads.is_alive():
            with contextlib.suppress(Exception):  # another process takes over only after several missing signs
                self._look_for_successor()
                self._owner.sign()
            self._uploads.join(SIGN_SECONDS)

    def _save(self) -> None:
        uploaded = {name: stamp for name, stamp in dict(self._known).items() if stamp}
        _State([self._id], uploaded).write(self.directory.parent)


@contextmanager
def _locked(cache: Path, address: str) -> Iterator[None]:
    """Keep other processes of this machine out. The system releases the lock if the process is killed."""
    with contextlib.ExitStack() as stack:
        try:
            cache.mkdir(parents=True, exist_ok=True)
            lock = stack.enter_context(open(cache / "lock", "wb"))
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for left in cache.glob(f"{COPY}*"):  # by a process that was killed
                left.unlink()
        except BlockingIOError as error:
            raise ConfigError(
                f"--workdir={address}: another process on this machine is working in it; wait for it, or name another "
                "address."
            ) from error
        except OSError as error:
            raise ConfigError(
                f"--workdir={address}: no working copy can be made in {cache} ({error.strerror}); set XDG_CACHE_HOME "
                "to a directory that you may write to."
            ) from error
        yield


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _cache_of(address: str) -> Path:
    """Return the directory on this machine for an address, with its working copy, what is known of it, and a lock."""
    readable = re.sub(r"[^A-Za-z0-9.=-]+", "_", address)[:100]
    return user_cache() / "buckets" / f"{readable}_{zlib.crc32(address.encode()):08x}"


def _said(error: Exception) -> str:
    """Return the message of a store's error, in one line."""
    text = one_line(error)
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__


class _TakenOver(Exception):
    """Another process is the owner now."""
