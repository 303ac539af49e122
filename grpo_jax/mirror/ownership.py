"""Decide which process may write under an address, by objects owner/NUMBER, because buckets have no locks.

Each start creates the next one, which the store allows to only one process. The process of the highest number is the
owner, and writes its object anew every few seconds. If it has not ended, another process may follow it only when
nothing has changed there for a minute; it compares what it reads, not the clocks of machines. An owner that was
suspended, or cut off, finds another's id when it is back, and writes nothing more.
"""

import contextlib
import dataclasses
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

from grpo_jax.config import ConfigError
from grpo_jax.json_record import JsonRecord
from grpo_jax.mirror.remote import Remote

FOLDER = "owner"  # of the objects; the working copy has no such folder
SIGN_SECONDS = 15.0  # between two signs of the owner
SILENT_SECONDS = 60.0  # without a sign, until another process may follow it
LOOK_SECONDS = 5.0  # between two looks for signs
ASK_SECONDS = 5.0  # between two looks for a successor


@dataclass(frozen=True)
class Owner(JsonRecord):
    """The content of an object."""

    id: str
    host: str
    signs: int = 0
    ended: bool = False


class Numbered(NamedTuple):
    """An owner and its number; larger numbers are of later starts."""

    number: int
    owner: Owner


def newest_owner(remote: Remote) -> Numbered | None:
    """Return the newest owner of an address, or None if it never had one."""
    names = (name.removeprefix(f"{FOLDER}/") for name in remote.sizes(FOLDER))
    numbers = [int(name) for name in names if name.isdecimal()]
    return None if not numbers else Numbered(max(numbers), _read(remote, max(numbers)))


class Ownership:
    """The right of this process to write under an address."""

    def __init__(self, remote: Remote, number: int, owner: Owner):
        self._remote, self._number, self._owner = remote, number, owner
        self._asked = time.monotonic()

    @classmethod
    def take(
        cls,
        remote: Remote,
        id: str,
        earlier: Numbered | None,
        note: Callable[[str], None],
        sleep: Callable[[float], None] = time.sleep,
    ) -> "Ownership":
        """Become the owner of an address.

        Args:
          id: a new one.
          earlier: the owner so far, whose silence must be waited for; None if there is nobody to wait for.

        Raises:
          ConfigError: if another process is working there.
        """
        if earlier and not earlier.owner.ended:
            _wait_for_silence(remote, earlier, note, sleep)
        number, owner = (newest.number + 1 if (newest := newest_owner(remote)) else 1), Owner(id, socket.gethostname())
        try:
            remote.create(_name(number), _content(owner))
        except Exception:  # each store has errors of its own
            if not remote.sizes(FOLDER).keys() & {_name(number)}:
                raise
        if (first := _read(remote, number)).id != id:
            raise _refusal(remote, first)
        return cls(remote, number, owner)

    def sign(self, *, ended: bool = False) -> None:
        """Show that this process still works there, or that it has ended."""
        self._owner = dataclasses.replace(self._owner, signs=self._owner.signs + 1, ended=ended)
        self._remote.write(_name(self._number), _content(self._owner))

    @contextmanager
    def preparing(self) -> Iterator[None]:
        """Give signs from a thread within this context. An error that leaves it ends the ownership."""
        over = threading.Event()

        def give_signs() -> None:
            while not over.wait(SIGN_SECONDS):
                with contextlib.suppress(Exception):  # each store has errors of its own; the next sign may succeed
                    self.sign()

        signs = threading.Thread(target=give_signs, name="signs", daemon=True)
        signs.start()
        failed = True
        try:
            yield
            failed = False
        finally:
            over.set()
            signs.join()
            if failed:
                with contextlib.suppress(Exception):  # then the next start waits for silence
                    self.sign(ended=True)

    def successor(self) -> Owner | None:
        """Return the owner that has followed this process, or None. The store is asked only once in a while."""
        if time.monotonic() - self._asked < ASK_SECONDS:
            return None
        newest = newest_owner(self._remote)
        if newest and newest.owner.id != self._owner.id:
            return newest.owner
        self._asked = time.monotonic()
        return None


def _wait_for_silence(
    remote: Remote, earlier: Numbered, note: Callable[[str], None], sleep: Callable[[float], None]
) -> None:
    note(
        f"{remote.address}: {earlier.owner.host} has not ended its work there; it counts as gone if it gives no sign "
        f"for {SILENT_SECONDS:.0f} s"
    )
    for _ in range(round(SILENT_SECONDS / LOOK_SECONDS)):
        sleep(LOOK_SECONDS)
        now = newest_owner(remote)
        if now and now.owner.ended:
            return
        if now != earlier:
            raise _refusal(remote, now.owner if now else earlier.owner)


def _refusal(remote: Remote, owner: Owner) -> ConfigError:
    return ConfigError(
        f"--workdir={remote.address}: a process on {owner.host} is working in it; wait for it, or name another address."
    )


def _name(number: int) -> str:
    return f"{FOLDER}/{number:06d}"


def _content(owner: Owner) -> bytes:
    return json.dumps(owner.to_json()).encode()


def _read(remote: Remote, number: int) -> Owner:
    content = remote.read(_name(number))
    if content is None:
        raise ConfigError(f"--workdir={remote.address}: {_name(number)} was removed a moment ago; try again.")
    return Owner.from_json(json.loads(content))
