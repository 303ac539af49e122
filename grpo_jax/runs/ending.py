"""The ways in which a run can end before its last step: requests to stop, and errors."""

import dataclasses
import errno
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

from grpo_jax.processes import on_any_process
from grpo_jax.runs.directory import RunDirectory
from grpo_jax.runs.provenance import FAILED, FINISHED, STOPPED, now
from grpo_jax.runs.record import read_record, write_record
from grpo_jax.terminal import acknowledge


class Interrupted(Exception):
    """The run was asked to stop and is saved; the same command continues it."""


class StopRequested(Exception):
    """A stop was requested in the middle of a step."""


class TrainingError(RuntimeError):
    """The run cannot go on. The text says what the user can do."""


FULL = (errno.ENOSPC, errno.EDQUOT)  # the disk, or the user's share of it


@contextmanager
def explain_full_disk() -> Iterator[None]:
    """Turn an error that a full disk caused into a TrainingError with a sentence.

    Raises:
      TrainingError: if the disk is full, or the user's quota is used up.
    """
    try:
        yield
    except Exception as error:
        if not (clause := _full(error)):
            raise
        raise TrainingError(
            f"nothing more can be written: {clause}. What was saved is intact; make room, and the same command "
            "continues from there."
        ) from error


def _full(error: BaseException | None) -> str:
    """Return the system's message if a full disk caused the error or one that led to it, else ""."""
    while error is not None:
        for number in FULL:
            if (isinstance(error, OSError) and error.errno == number) or os.strerror(number) in str(error):
                of_file = f"{error.filename}: " if isinstance(error, OSError) and error.filename else ""
                return f"{of_file}{os.strerror(number)}"
        error = error.__cause__ or error.__context__
    return ""


@contextmanager
def recorded(directory: RunDirectory) -> Iterator[None]:
    """Record when and how the newest start of a directory ended, however this context is left."""
    outcome = FINISHED
    try:
        yield
    except Interrupted:
        outcome = STOPPED
        raise
    except BaseException as error:
        outcome = f"{FAILED}: {type(error).__name__}"
        raise
    finally:
        record = read_record(directory)
        if record and record.provenance.starts:
            *earlier, newest = record.provenance.starts
            starts = [*earlier, dataclasses.replace(newest, ended=now(), outcome=outcome)]
            write_record(
                directory, dataclasses.replace(record, provenance=dataclasses.replace(record.provenance, starts=starts))
            )


class StopRequest:
    """Signals as requests that the loop obeys at the next batch, after saving: Ctrl-C, SIGTERM, a closed terminal.

    In this context, the first signal is only recorded, and a second one acts at once, as usual. The first one prints a
    line immediately, whatever the loop is doing, because users who see no response press Ctrl-C again. Under nohup a
    closed terminal stays ignored.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __init__(self, *, saving: str = "saving", losing: str = "what is not saved yet") -> None:
        """Prepare to record requests.

        Args:
          saving: says what the first signal does, as part of a sentence.
          losing: says what a second one costs, as part of a sentence.
        """
        self.name = "stopped"  # or the name of the signal that this process received
        self._saving, self._losing = saving, losing
        self._received = False
        self._agreed = False
        self._previous: dict[signal.Signals, Any] = {}

    def requested(self) -> bool:
        """Return whether any process was asked to stop. All processes must call this at the same places."""
        self._agreed = self._agreed or on_any_process(self._received)
        return self._agreed

    def obey(self) -> None:
        """Raise StopRequested if any process was asked to stop. All processes must call this at the same places."""
        if self.requested():
            raise StopRequested

    def __enter__(self) -> "StopRequest":
        if threading.current_thread() is threading.main_thread():  # Python allows handlers nowhere else
            nohup = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
            heeded = [number for number in self.SIGNALS if not (nohup and number == signal.SIGHUP)]
            self._previous = {number: signal.signal(number, self._request) for number in heeded}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()

    def _request(self, number: int, frame: FrameType | None) -> None:
        self.name, self._received = signal.Signals(number).name, True
        self._restore()
        acknowledge(f"{self.name}: {self._saving}. A second one ends it at once, and loses {self._losing}.")

    def _restore(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}
