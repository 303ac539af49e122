"""The processes of a run end together, with the words of the one that failed; and a process that is stuck ends.

Without this, the others would wait for ever for its part of a computation. A thread of each process looks every few
seconds:

* Each process says that it is alive. One of which nothing is heard any more was killed, or its machine is gone.
* A process that fails leaves its last words with the others, and ends. They end with the same words and exit code,
  after a moment in which they may fail of the same cause. A broken connection is rarely the cause: the process at its
  other end is asked first.
* If there was no progress for long, the process writes the stacks of all its threads, and ends with exit code 124.
"""

import contextlib
import faulthandler
import json
import os
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import jax

from grpo_jax.config import ConfigError, command_line
from grpo_jax.json_record import JsonRecord
from grpo_jax.processes import store
from grpo_jax.rewards import WorkerError
from grpo_jax.runs.ending import Interrupted, TrainingError

ALIVE, FAILED, ENDED = "grpo_jax/alive", "grpo_jax/failed", "grpo_jax/ended"  # in the store, each with process indices

LOOK_SECONDS = 2.0  # between two looks
SILENT_LOOKS = 20  # without a word of a process, until it counts as gone
MOMENT_LOOKS = 5  # between a failure and the end of the other processes; who is silent as long then is its cause
LINGER_SECONDS = 20.0  # the store is in the first process, which therefore ends last, but waits no longer than this

STUCK = 124  # exit code, as of `timeout`
STDERR = 2


@dataclass(frozen=True)
class LastWords(JsonRecord):
    """What a process leaves behind that fails."""

    process: int
    text: str  # a sentence
    code: int  # of its exit
    cause: bool  # False: it may have failed because another one did


class Together:
    """A context: an error that leaves it ends all processes of the run. A single process only watches for progress."""

    def __init__(self, folder: Path, stuck_after: float, end: Callable[[int], None] = os._exit):
        """Prepare the thread.

        Args:
          folder: where stacks are written.
          stuck_after: seconds without progress; 0: a process may be stuck.
          end: ends this process with an exit code, at once: its other threads may hang.
        """
        self._folder, self._end = folder, end
        self._looks_to_stuck = stuck_after / LOOK_SECONDS
        self._index, self._number = jax.process_index(), jax.process_count()
        self._store = store() if self._number > 1 else None
        self._idle = 0  # looks since the last progress; not seconds, because the machine may have been suspended
        self._said = 0
        self._heard: Mapping[str, str] = {}
        self._silent: Counter[int] = Counter()  # looks without a word, by process
        self._words: list[LastWords] = []
        self._since_failure = 0  # looks
        self._over = threading.Event()
        self._ending = threading.Lock()
        self._thread = threading.Thread(target=self._watch, name="together", daemon=True)

    def progressed(self) -> None:
        """Note that there was progress."""
        self._idle = 0

    def __enter__(self) -> "Together":
        if self._store:
            self._look()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._store and isinstance(error, Exception | KeyboardInterrupt) and not isinstance(error, Interrupted):
            self._fail(error)
        self._over.set()
        self._thread.join()
        if self._store:
            self._say(ENDED, "")

    def _fail(self, error: Exception | KeyboardInterrupt) -> None:
        """Print an error, leave it with the others, and end this process."""
        words = last_words(error, self._index)
        if isinstance(error, FORESEEN):
            command_line.fail(error, words.code)
        else:
            traceback.print_exception(error)
        self._say(FAILED, json.dumps(words.to_json()))
        if words.cause:
            self._leave(words.code)
        else:
            self._thread.join()  # it finds the cause, and ends this process

    def _watch(self) -> None:
        while not self._over.wait(LOOK_SECONDS):
            self._idle += 1
            if self._looks_to_stuck and self._idle >= self._looks_to_stuck:
                self._tell_stacks()
                self._leave(STUCK)
                break
            if self._store:
                self._look()
            if self._words:
                self._since_failure += 1
            if self._since_failure > MOMENT_LOOKS and not self._ending.locked():
                words = self._explanation()
                command_line.fail(words.text, words.code)
                self._leave(words.code)
                break

    def _look(self) -> None:
        """Say that this process is alive, and read what the others say."""
        self._said += 1
        self._say(ALIVE, str(self._said))
        heard = self._read(ALIVE)
        for key, beat in heard.items():
            process = int(key)
            self._silent[process] = self._silent[process] + 1 if self._heard.get(key) == beat else 0
        self._heard = heard
        ended = self._read(ENDED)
        self._silent = Counter({process: n for process, n in self._silent.items() if str(process) not in ended})
        self._words = [LastWords.from_json(json.loads(text)) for text in self._read(FAILED).values()]
        if not self._words and self._gone(SILENT_LOOKS):
            self._words = [self._obituary(SILENT_LOOKS)]

    def _gone(self, looks: int) -> list[int]:
        """Return the processes of which nothing was heard at so many looks."""
        return sorted(process for process, n in self._silent.items() if n >= looks and process != self._index)

    def _obituary(self, looks: int) -> LastWords:
        gone = self._gone(looks)
        seconds = min(self._silent[process] for process in gone) * LOOK_SECONDS
        text = (
            f"nothing was heard of process {' and '.join(map(str, gone))} for {seconds:.0f} s: it was killed, is "
            "stopped, or its machine is gone; the same command continues from the last checkpoint"
        )
        return LastWords(gone[0], text, code=1, cause=True)

    def _explanation(self) -> LastWords:
        """Return the words of a process that failed by itself; else who is gone; else the words of any."""
        causes = [words for words in self._words if words.cause]
        if not causes and self._gone(MOMENT_LOOKS):
            return self._obituary(MOMENT_LOOKS)
        return (causes or self._words)[0]

    def _tell_stacks(self) -> None:
        path = self._folder / f"stacks_{self._index}.txt"
        with contextlib.suppress(OSError):
            faulthandler.dump_traceback(STDERR)
            with open(path, "w", encoding="utf-8") as file:
                faulthandler.dump_traceback(file)
        seconds = self._idle * LOOK_SECONDS
        command_line.fail(
            f"no progress for {seconds:.0f} s (train.stuck_after); the stacks of all threads are above and in {path}; "
            "the same command continues from the last checkpoint",
            STUCK,
        )

    def _leave(self, code: int) -> None:
        """End this process; the one with the store waits for the others."""
        if not self._ending.acquire(blocking=False):  # another thread does it
            return
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        self._say(ENDED, "")
        deadline = time.monotonic() + LINGER_SECONDS
        while self._store and self._index == 0 and time.monotonic() < deadline:
            if len(self._read(ENDED)) + len(self._gone(MOMENT_LOOKS)) >= self._number:
                break
            time.sleep(LOOK_SECONDS / 10)
        self._end(code)

    def _say(self, what: str, text: str) -> None:
        if self._store:
            with contextlib.suppress(jax.errors.JaxRuntimeError):  # without the first process JAX ends this one
                self._store.key_value_set(f"{what}/{self._index}", text, allow_overwrite=True)

    def _read(self, what: str) -> dict[str, str]:
        """Return what the processes said, by their indices."""
        assert self._store
        try:
            return {key.rpartition("/")[2]: text for key, text in self._store.key_value_dir_get(f"{what}/")}
        except jax.errors.JaxRuntimeError:
            return {}


FORESEEN = (ConfigError, TrainingError, WorkerError)  # errors whose text is a sentence for the user


def last_words(error: Exception | KeyboardInterrupt, process: int) -> LastWords:
    """Return the last words of a process that an error ends."""
    code = {ConfigError: 2, KeyboardInterrupt: 130}.get(type(error), 1)
    if isinstance(error, KeyboardInterrupt):
        what = "was stopped at once by Ctrl-C"
    elif isinstance(error, FORESEEN):
        what = f"failed: {error}"
    else:
        what = f"failed: {type(error).__name__}: {error}"
    cause = not isinstance(error, jax.errors.JaxRuntimeError)
    return LastWords(process, f"process {process} {what}", code, cause)
