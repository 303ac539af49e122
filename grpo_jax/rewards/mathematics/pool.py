"""Worker processes that compare answers, each of which can be killed without harm to the others or to the trainer.

A worker is given its limits and keeps them; what makes it break them is ended from here, half a second later, and
another worker is started. Everything works from any thread, and nothing uses signals or forks of this process.
"""

import contextlib
import json
import os
import queue
import select
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from grpo_jax.rewards.mathematics.outcome import Outcome

MODULE = "grpo_jax.rewards.mathematics.worker"
ROOT = Path(__file__).resolve().parents[3]  # where grpo_jax is imported from
START_SECONDS = 120.0  # a worker imports sympy, on a machine that may be busy
GRACE_SECONDS = 0.5  # beyond its limit, until a worker is killed
MAX_REPLY = 4096  # bytes


class WorkerError(RuntimeError):
    """Workers cannot be started at all. Its text says what to do."""


class Worker:
    """One process, for one pair at a time."""

    def __init__(self, seconds: float, memory_mb: int):
        self._seconds = seconds
        self._ready = False
        self._received = b""
        self._lock = threading.RLock()  # held while a pair is asked about, so that nobody closes the pipes meanwhile
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", MODULE, str(seconds), str(memory_mb)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            start_new_session=True,  # Ctrl-C in a terminal is for the trainer
        )

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def wait_until_ready(self) -> None:
        """Returns when the worker has imported what it needs. Raises WorkerError if it does not come to that."""
        if self._ready:
            return
        message = self._receive(START_SECONDS)
        if message is None or not message.get("ready"):
            self.kill()
            raise WorkerError(
                f"a verifier process does not start; `{sys.executable} -m {MODULE} 1 1024` should wait for input: "
                "is math-verify installed?"
            )
        self._ready = True

    def ask(self, gold: str, answer: str) -> Outcome:
        """The outcome for one pair, within the limit and `GRACE_SECONDS`; afterwards the worker may be dead."""
        with self._lock:
            return self._ask(gold, answer)

    def _ask(self, gold: str, answer: str) -> Outcome:
        self.wait_until_ready()
        request = json.dumps({"gold": gold, "answer": answer}) + "\n"
        try:
            assert self._process.stdin is not None
            self._process.stdin.write(request.encode())
            self._process.stdin.flush()
        except OSError:
            self.kill()
            return "killed"
        message = self._receive(self._seconds + GRACE_SECONDS)
        if message is None:
            self.kill()
            return "killed"
        outcome: Outcome = message["outcome"]
        if outcome == "memory":
            self.kill()
        return outcome

    def _receive(self, seconds: float) -> dict[str, Any] | None:
        """The next line, as JSON; None if the worker says nothing in time, ends, or says too much."""
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        poll = select.poll()  # select.select knows descriptors up to 1024 only
        poll.register(descriptor, select.POLLIN | select.POLLHUP)
        deadline = time.monotonic() + seconds
        while b"\n" not in self._received:
            left = deadline - time.monotonic()
            if left <= 0 or not poll.poll(left * 1000):
                return None
            received = os.read(descriptor, MAX_REPLY)
            self._received += received
            if not received or len(self._received) > MAX_REPLY:
                return None
        line, _, self._received = self._received.partition(b"\n")
        message: dict[str, Any] = json.loads(line)
        return message

    def kill(self) -> None:
        """Ends the process, whatever it does; no error if it has ended."""
        self._process.kill()
        self._process.wait()
        with self._lock:
            for pipe in (self._process.stdin, self._process.stdout):
                with contextlib.suppress(OSError):  # of a request that was never read
                    if pipe is not None:
                        pipe.close()


class Pool:
    """A fixed number of workers, started at the first need."""

    def __init__(self, workers: int, seconds: float, memory_mb: int):
        """Args: number of processes, seconds for one pair, megabytes of address space of one process."""
        self._number, self._seconds, self._memory_mb = workers, seconds, memory_mb
        self._lock = threading.Lock()
        self._idle: queue.SimpleQueue[Worker] | None = None
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="verifier")
        self._all: set[Worker] = set()
        self._closed = False
        self._finalizer = weakref.finalize(self, _end, self._all, self._threads)

    def warm(self) -> None:
        """Starts the workers, and does not wait for them."""
        with self._lock:
            if self._closed:
                raise WorkerError("the verifier was closed")
            if self._idle is None:
                self._idle = queue.SimpleQueue()
                for _ in range(self._number):
                    self._idle.put(self._started())

    def judge(self, pairs: Sequence[tuple[str, str]]) -> list[Outcome]:
        """An outcome for each (gold, answer), each within its own limit.

        Raises:
          WorkerError: if workers cannot be started, or `close` was called.
        """
        self.warm()
        return list(self._threads.map(self._one, pairs))

    def close(self) -> None:
        """Ends the workers. May be called more than once."""
        with self._lock:
            self._closed = True
        self._finalizer()

    def _one(self, pair: tuple[str, str]) -> Outcome:
        assert self._idle is not None
        worker = self._idle.get()
        try:
            return worker.ask(*pair)
        finally:
            if not worker.alive:
                worker = self._replaced(worker)
            self._idle.put(worker)

    def _started(self) -> Worker:
        worker = Worker(self._seconds, self._memory_mb)
        self._all.add(worker)
        return worker

    def _replaced(self, dead: Worker) -> Worker:
        dead.kill()
        with self._lock:
            self._all.discard(dead)
            return dead if self._closed else self._started()


def _end(workers: set[Worker], threads: ThreadPoolExecutor) -> None:
    threads.shutdown(wait=False, cancel_futures=True)
    for worker in list(workers):
        worker.kill()
    workers.clear()
