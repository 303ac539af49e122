"""The processes of a run end together, with the words of the one that failed; and a process that is stuck ends.

Without this, the others would wait for ever for its part of a computation. Two threads of each process do something
every few seconds. One asks the others, through the first process, and may block. The other never blocks, and looks at
the answers:

* Each process says that it is alive. A process that falls silent was killed, or its machine is gone. If the first
  process does not answer, it is the one that is gone.
* A process that fails leaves its last words for the others, and ends. They wait a moment, in which they may fail of the
  same cause, and end with the same words and exit code. A broken connection is rarely the cause, so words from the
  process at its other end come first.
* If there was no progress for long, the process writes the stacks of all its threads, and ends with exit code 124.
"""

import contextlib
import faulthandler
import json
import logging
import math
import os
import re
import signal
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TypeAlias

import jax

from grpo_jax.config import ConfigError, command_line
from grpo_jax.json_record import JsonRecord
from grpo_jax.processes import process_index_and_count, store
from grpo_jax.runs.ending import Interrupted

# Names in the store, each followed by a process's index.
ALIVE, FAILED, ENDED = "grpo_jax/alive", "grpo_jax/failed", "grpo_jax/ended"

# A process that is gone must be noticed before JAX's heartbeats do, which end the others with a C++ trace.
LOOK_SECONDS = 2.0  # between two looks
SILENT_LOOKS = 12  # without a word from a process, until it counts as gone
MOMENT_LOOKS = 5  # between a failure and the end of the other processes; one that is silent for as long is its cause
LINGER_SECONDS = 20.0  # the store is in the first process, which therefore ends last, but waits no longer than this

BY_XLA = re.compile(r"[A-Z]+(_[A-Z]+)*: ")  # the beginning of what it says, as in "UNKNOWN: Gloo AllGather failed"
STUCK = 124  # exit code, as of `timeout`
GONE = 128 + signal.SIGKILL  # exit code of the others, as a shell has for a killed process: clusters start it again
STDERR = 2


@dataclass(frozen=True)
class LastWords(JsonRecord):
    """The message that a failing process leaves for the others."""

    process: int
    text: str  # a sentence
    code: int  # of its exit
    cause: bool  # False: it may have failed because another one did


Errors: TypeAlias = tuple[type[Exception], ...]


def last_words(error: Exception | KeyboardInterrupt, process: int, foreseen: Errors) -> LastWords:
    """Return the last words of a process that an error ends."""
    code = {ConfigError: 2, KeyboardInterrupt: 130}.get(type(error), 1)
    if isinstance(error, KeyboardInterrupt):
        what = "was stopped at once by Ctrl-C"
    elif isinstance(error, foreseen):
        what = f"failed: {error}"
    else:
        what = f"failed: {type(error).__name__}: {error}"
    broken = isinstance(error, jax.errors.JaxRuntimeError | ValueError) and BY_XLA.match(str(error))
    return LastWords(process, f"process {process} {what}", code, cause=not broken)


def say_last(error: object, code: int) -> None:
    """Print an error, and silence threads that later fail of the same cause, such as those of a checkpoint."""
    logging.disable()
    threading.excepthook = lambda failed: None
    command_line.fail(error, code)


class PeerMonitor:
    """What a process tells the others of its run, and knows of them, through the store that they share."""

    def __init__(self, index: int, number: int) -> None:
        """Begin without any message.

        Args:
          index: of this process.
          number: of all processes.
        """
        self.index, self.number = index, number
        self.words: list[LastWords] = []  # that are known at the newest look
        self._store = store()
        self._looks = 0
        self._since_failure = 0  # looks that found last words
        self._unanswered = 0  # calls of `count_unanswered` since the newest look was over
        self._heard: Mapping[int, str] = {}
        self._silent: Counter[int] = Counter()  # looks for which each process was silent

    def publish(self, what: str, text: str = "") -> None:
        """Leave a text for the others, under a name such as `ALIVE`."""
        with contextlib.suppress(jax.errors.JaxRuntimeError):  # without the first process JAX ends this one
            self._store.key_value_set(f"{what}/{self.index}", text, allow_overwrite=True)

    def look(self) -> None:
        """Say that this process is alive, and read what the others say. Hangs if the first process is gone."""
        self._looks += 1
        self.publish(ALIVE, str(self._looks))
        heard, ended = self._read(ALIVE), self._read(ENDED)
        for process in range(self.number):
            silent = self._heard.get(process) == heard.get(process) and process not in ended
            self._silent[process] = self._silent[process] + 1 if silent else 0
        self._heard = heard
        self.words = [LastWords.from_json(json.loads(text)) for text in self._read(FAILED).values()]
        self._since_failure += bool(self.words)
        self._unanswered = 0

    def count_unanswered(self) -> None:
        """Count the time between two looks as spent without an answer."""
        self._unanswered += 1

    def must_end(self) -> bool:
        """Return whether this process must end: another one failed a moment ago, or is gone without any last words."""
        return self._since_failure > MOMENT_LOOKS or (not self.words and bool(self._gone(SILENT_LOOKS)))

    def explanation(self) -> LastWords:
        """Return the words of a process that failed by itself; else say which is gone; else return any words."""
        causes = [words for words in self.words if words.cause]
        if not causes and self._gone(MOMENT_LOOKS):
            return self._message_of_silence()
        return (causes or self.words)[0]

    def all_ended(self) -> bool:
        """Return whether no other process looks any more."""
        return len(self._read(ENDED)) + len(self._gone(MOMENT_LOOKS)) >= self.number

    def _silence(self) -> Mapping[int, int]:
        """Return for how many looks each process has been silent."""
        return {**self._silent, 0: max(self._silent[0], self._unanswered)}

    def _gone(self, looks: int) -> list[int]:
        """Return the processes that have been silent for this many looks."""
        return sorted(process for process, n in self._silence().items() if n >= looks and process != self.index)

    def _message_of_silence(self) -> LastWords:
        """Return the message that processes which are gone could not leave."""
        gone = self._gone(MOMENT_LOOKS)
        seconds = min(self._silence()[process] for process in gone) * LOOK_SECONDS
        text = (
            f"nothing was heard from process {' and '.join(map(str, gone))} for {seconds:.0f} s: it was killed, is "
            "stopped, or cannot be reached; the same command continues from the last checkpoint"
        )
        return LastWords(gone[0], text, GONE, cause=True)

    def _read(self, what: str) -> dict[int, str]:
        """Return what the processes said, by their indices."""
        try:
            return {int(key.rpartition("/")[2]): text for key, text in self._store.key_value_dir_get(f"{what}/")}
        except jax.errors.JaxRuntimeError:
            return {}


class FailureWatch:
    """A context that ends all processes of a run if an error leaves it, and this process if it makes no progress."""

    def __init__(self, folder: Path, stuck_after: float, foreseen: Errors = (), end: Callable[[int], None] = os._exit):
        """Prepare the thread.

        Args:
          folder: where stacks are written.
          stuck_after: seconds without progress; 0: a process may be stuck.
          foreseen: errors whose text is a sentence for the user, as that of ConfigError is.
          end: ends this process with an exit code, at once: its other threads may hang.
        """
        self._foreseen: Errors = (ConfigError, *foreseen)
        self._end = end
        self._looks_to_stuck = stuck_after / LOOK_SECONDS or math.inf
        self._idle = 0  # looks since the last progress; not seconds, because the machine may have been suspended
        index, number = process_index_and_count()
        self._stacks = folder / f"stacks_{index}.txt"
        self._peers = PeerMonitor(index, number) if number > 1 else None
        self._over = threading.Event()
        self._leaving = threading.Lock()
        self._threads = [
            threading.Thread(target=act, name="together", daemon=True)
            for act in ((self._watch, self._listen) if self._peers else (self._watch,))
        ]

    def progressed(self) -> None:
        """Note that there was progress."""
        self._idle = 0

    def __enter__(self) -> "FailureWatch":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._peers and isinstance(error, Exception | KeyboardInterrupt) and not isinstance(error, Interrupted):
            self._fail(error, self._peers)
        if self._peers:
            self._peers.publish(ENDED)
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _fail(self, error: Exception | KeyboardInterrupt, peers: PeerMonitor) -> None:
        """Print an error, leave it with the others, and end this process."""
        words = last_words(error, peers.index, self._foreseen)
        if isinstance(error, self._foreseen):
            say_last(error, words.code)
        else:
            traceback.print_exception(error)
        peers.publish(FAILED, json.dumps(words.to_json()))
        if words.cause:
            self._leave(words.code)
        else:
            self._threads[0].join()  # it finds the cause, and ends this process

    def _listen(self) -> None:
        while self._peers and not self._over.wait(LOOK_SECONDS):
            self._peers.look()

    def _watch(self) -> None:
        while not self._over.wait(LOOK_SECONDS):
            self._idle += 1
            if self._idle >= self._looks_to_stuck:
                self._tell_stacks()
                self._leave(STUCK)
                break
            if self._peers is None:
                continue
            self._peers.count_unanswered()
            if self._peers.must_end() and not self._leaving.locked():
                words = self._peers.explanation()
                say_last(words.text, words.code)
                self._leave(words.code)
                break

    def _tell_stacks(self) -> None:
        with contextlib.suppress(OSError):
            faulthandler.dump_traceback(STDERR)
            with open(self._stacks, "w", encoding="utf-8") as file:
                faulthandler.dump_traceback(file)
        say_last(
            f"no progress for {self._idle * LOOK_SECONDS:.0f} s (train.stuck_after); the stacks of all threads are "
            f"above and in {self._stacks}; the same command continues from the last checkpoint",
            STUCK,
        )

    def _leave(self, code: int) -> None:
        """End this process. The first one waits for the others, because they need its store to read its words."""
        if not self._leaving.acquire(blocking=False):  # another thread does it
            return
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        if self._peers:
            told = threading.Thread(target=self._peers.publish, args=(ENDED,), daemon=True)
            told.start()
            told.join(LOOK_SECONDS)  # without the first process it never ends
            deadline = time.monotonic() + LINGER_SECONDS
            while self._peers.index == 0 and not self._peers.all_ended() and time.monotonic() < deadline:
                time.sleep(LOOK_SECONDS / 10)
        self._end(code)
