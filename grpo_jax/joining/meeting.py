"""The meeting of a run's processes before JAX joins them.

JAX ends a process with a C++ trace if another one is missing, and does not say which. So the processes meet first, at
the address where JAX's coordinator will be. The first process waits there for the others, and answers all of them at
once: either all have come, or each of them says the same sentence about those that have not.
"""

import json
import os
import socket
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import TypeVar

from grpo_jax.config import ConfigError, counted
from grpo_jax.json_record import JsonRecord

REPLY_SECONDS = 5.0  # in which a process that has connected says who it is
LONGEST = 4096  # bytes of a line

Record = TypeVar("Record", bound=JsonRecord)


class NotJoined(Exception):
    """A process has not come in time. Trying again may help."""


@dataclass(frozen=True)
class Place:
    """The place of a process among the processes of a run."""

    coordinator: str  # HOST:PORT of the first process
    processes: int
    process: int  # from 0
    local_devices: tuple[int, ...] = ()  # those of the host's GPUs that it uses; none: all

    @property
    def address(self) -> tuple[str, int]:
        """The coordinator's host and port."""
        host, _, port = self.coordinator.rpartition(":")
        return host.strip("[]"), int(port)


@dataclass(frozen=True)
class Introduction(JsonRecord):
    """The message by which a process introduces itself to the first one."""

    process: int
    processes: int
    host: str


@dataclass(frozen=True)
class Answer(JsonRecord):
    """The answer of the first process to the others."""

    missing: Sequence[int]  # processes that have not come in time
    mistake: str | None = None  # a contradiction between processes, as a sentence


def meet(place: Place, seconds: float) -> None:
    """Wait until all processes of a run have come.

    Args:
      place: of this process.
      seconds: how long the first process waits for the others, and they for the first.

    Raises:
      NotJoined: if a process has not come in time.
      ConfigError: if the processes contradict each other, or the first cannot listen on the coordinator's port.
    """
    if place.processes == 1:
        return
    answer = _receive(place, seconds) if place.process == 0 else _visit(place, seconds)
    if answer.mistake:
        raise ConfigError(answer.mistake)
    if answer.missing:
        numbers = ", ".join(map(str, answer.missing))
        raise NotJoined(
            f"{len(answer.missing)} of {counted(place.processes, 'process')} did not come to {place.coordinator} "
            f"within {seconds:g} s: {numbers} (counted from 0); look at what they printed, or wait longer with "
            "--join-seconds."
        )


def _receive(place: Place, seconds: float) -> Answer:
    """Wait for the other processes, and give all of them the answer that is returned."""
    until = time.monotonic() + seconds
    visitors: dict[int, _Visitor] = {}
    answer = None
    with ExitStack() as at_the_end:
        listener = at_the_end.enter_context(_listen(place))
        while answer is None:
            visitors = {number: visitor for number, visitor in visitors.items() if not visitor.has_left()}
            missing = sorted({*range(1, place.processes)} - visitors.keys())
            left = until - time.monotonic()
            if not missing or left <= 0:
                answer = Answer(missing)
            elif (visitor := _accept(listener, min(1.0, left))) is not None:
                at_the_end.callback(visitor.connection.close)
                answer = _contradiction(place, visitor.introduction, visitors)
                if answer is not None:
                    visitor.tell(answer)
                else:
                    visitors[visitor.introduction.process] = visitor
        for visitor in visitors.values():
            visitor.tell(answer)
    return answer


def _listen(place: Place) -> socket.socket:
    both = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if both else socket.AF_INET
    try:
        return socket.create_server(("", place.address[1]), family=family, dualstack_ipv6=both)
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise ConfigError(
            f"{place.coordinator}: the first process cannot listen on this port ({reason}); free it, or name another "
            "with --coordinator, or in JAX_COORDINATOR_PORT on all hosts."
        ) from error


@dataclass(frozen=True)
class _Visitor:
    """The first process's end of a connection to another."""

    connection: socket.socket
    introduction: Introduction

    def has_left(self) -> bool:
        self.connection.setblocking(False)
        try:
            return self.connection.recv(1) == b""  # it has closed its end
        except BlockingIOError:
            return False
        except OSError:
            return True

    def tell(self, answer: Answer) -> None:
        self.connection.settimeout(REPLY_SECONDS)
        _write(self.connection, answer)


def _accept(listener: socket.socket, seconds: float) -> _Visitor | None:
    """Return the next process that comes within some seconds.

    Something else may come, too: a port scanner, or a process of an earlier start that JAX keeps connecting.
    """
    listener.settimeout(seconds)
    try:
        connection, _ = listener.accept()
    except TimeoutError:
        return None
    connection.settimeout(REPLY_SECONDS)
    introduction = _read(connection, Introduction)
    if introduction is None:
        connection.close()
        return None
    return _Visitor(connection, introduction)


def _contradiction(place: Place, new: Introduction, visitors: dict[int, _Visitor]) -> Answer | None:
    """Return the answer to all if a new process contradicts the others."""
    if new.processes != place.processes:
        here = socket.gethostname()
        return Answer(
            (), f"--processes={new.processes} on {new.host}, but {place.processes} on {here}; they must agree."
        )
    if new.process in visitors:
        other = visitors[new.process].introduction.host
        return Answer((), f"--process={new.process}: is given twice, on {other} and on {new.host}; count from 0.")
    return None


def _visit(place: Place, seconds: float) -> Answer:
    """Go to the first process, and return its answer. If it is not there, or leaves without one, try again."""
    until = time.monotonic() + seconds
    introduction = Introduction(place.process, place.processes, socket.gethostname())
    while (left := until - time.monotonic()) > 0:
        with suppress(OSError):  # nobody listens yet, or the host's name is not known yet
            with socket.create_connection(place.address, timeout=left) as connection:
                _write(connection, introduction)
                connection.settimeout(seconds + REPLY_SECONDS)  # the first process may have begun to wait just now
                answer = _read(connection, Answer)
            if answer is not None:
                return answer
        time.sleep(0.1)
    return Answer([0])


def _write(connection: socket.socket, record: JsonRecord) -> None:
    with suppress(OSError):  # the other end has left; then it comes again, or JAX misses it
        connection.sendall(json.dumps(record.to_json()).encode() + b"\n")


def _read(connection: socket.socket, kind: type[Record]) -> Record | None:
    """Return the record on the line that comes, or None if something else comes, or nothing."""
    line = b""
    try:
        while b"\n" not in line and len(line) < LONGEST and (more := connection.recv(LONGEST)):
            line += more
        return kind.from_json(json.loads(line))
    except (OSError, KeyError, TypeError, ValueError):
        return None
