"""Worker processes that compare answers, each of which can be killed without harm to the others or to the trainer.

A worker limits its own CPU time and memory, and if it cannot, the kernel ends it. So the outcome for a pair does not
depend on the load of the machine. If a worker ends for any other reason, or is silent for long, that says nothing about
its pair, and a new worker tries the pair again. Everything works from any thread, and nothing uses signals or forks of
this process.
"""

import contextlib
import json
import logging
import os
import queue
import select
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from grpo_jax.rewards.mathematics.outcome import Outcome

logger = logging.getLogger(__name__)

MODULE = "grpo_jax.rewards.mathematics.worker"
ROOT = Path(__file__).resolve().parents[3]  # where grpo_jax is imported from
START_SECONDS = 120.0  # a worker imports sympy, on a machine that may be busy
RESTARTS = 3  # of a worker before starting counts as impossible: a machine short of memory may kill one
TRIES = 3  # of a pair whose worker was ended from outside
# A worker that is silent for this long has been stopped, or waits for something: a computation would have timed out.
SILENT_SECONDS, SILENT_PER_SECOND = 60.0, 20.0  # for any pair, and for each second of CPU time that it may take
ENDING_SECONDS = 0.5  # between a worker's last word and its end
MAX_REPLY = 4096  # bytes

Pair = tuple[str, str | None]  # gold, answer; see `outcome_by`

# The outcome for a pair, by how its worker ended. Other ends (SIGKILL, SIGTERM, an exit) say nothing about the pair.
ENDS: Mapping[int, Outcome] = {
    -signal.SIGXCPU: "timed_out",
    **dict.fromkeys((-signal.SIGSEGV, -signal.SIGBUS, -signal.SIGABRT, -signal.SIGFPE, -signal.SIGILL), "crashed"),
}
UNKNOWN = frozenset(("killed", "stuck"))  # outcomes that say nothing about a pair, and that another try could change


class WorkerError(RuntimeError):
    """Workers cannot be started at all. Its text says what to do."""


class Worker:
    """A process that compares one pair at a time."""

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

    def starts(self) -> bool:
        """Wait until the worker has started, and return whether it has; if not, it has been killed."""
        with self._lock:
            if not self._ready:
                message = self._receive(START_SECONDS)
                self._ready = message is not None and bool(message.get("ready"))
                if not self._ready:
                    self.kill()
            return self._ready

    def ask(self, gold: str, answer: str | None) -> Outcome:
        """Return the outcome for one pair; afterwards the worker may be dead."""
        with self._lock:
            return self._ask(gold, answer)

    def _ask(self, gold: str, answer: str | None) -> Outcome:
        request = json.dumps({"gold": gold, "answer": answer}) + "\n"
        with contextlib.suppress(OSError):  # it has ended
            assert self._process.stdin is not None
            self._process.stdin.write(request.encode())
            self._process.stdin.flush()
        message = self._receive(SILENT_SECONDS + SILENT_PER_SECOND * self._seconds)
        if message is None:
            return self._ended()
        outcome: Outcome = message["outcome"]
        if outcome == "memory":
            self.kill()
        return outcome

    def _ended(self) -> Outcome:
        """Kill a worker that does not answer, and return why it did not."""
        try:
            self._process.wait(ENDING_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            return "stuck"
        self.kill()
        return ENDS.get(self._process.returncode, "killed")

    def _receive(self, seconds: float) -> dict[str, Any] | None:
        """Return the next line, as JSON; None if the worker says nothing in time, ends, or says too much."""
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
        """End the process. It is no error if it has ended already."""
        self._process.kill()
        self._process.wait()
        with self._lock:
            for pipe in (self._process.stdin, self._process.stdout):
                with contextlib.suppress(OSError):  # of a request that was never read
                    if pipe is not None:
                        pipe.close()


class Pool:
    """A fixed number of workers, which start when they are first needed."""

    def __init__(self, workers: int, seconds: float, memory_mb: int):
        """Prepare `workers` processes, each with a limit of CPU time for one pair, and of address space."""
        self._number, self._seconds, self._memory_mb = workers, seconds, memory_mb
        self._lock = threading.Lock()
        self._idle: queue.SimpleQueue[Worker] | None = None
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="verifier")
        self._all: set[Worker] = set()
        self._closed = False
        self._finalizer = weakref.finalize(self, _end, self._all, self._threads)

    def warm(self) -> None:
        """Start the workers without waiting for them. Raises WorkerError if that is impossible."""
        with self._lock:
            if self._closed:
                raise WorkerError("the verifier was closed")
            if self._idle is None:
                started = [self._started() for _ in range(self._number)]
                self._idle = queue.SimpleQueue()
                for worker in started:
                    self._idle.put(worker)

    def outcomes(self, pairs: Sequence[Pair]) -> list[Outcome]:
        """Return an outcome for each pair, each within its own limit.

        Raises:
          WorkerError: if workers cannot be started, or `close` was called.
        """
        self.warm()
        return list(self._threads.map(self._one, pairs))

    def close(self) -> None:
        """End the workers. May be called more than once."""
        with self._lock:
            self._closed = True
        self._finalizer()

    def _one(self, pair: Pair) -> Outcome:
        assert self._idle is not None
        worker = self._idle.get()
        try:
            for _ in range(TRIES):
                worker = self._ready(worker)
                outcome = worker.ask(*pair)
                if outcome not in UNKNOWN:
                    break
                logger.warning("a verifier process was %s, and is replaced; its pair is tried again", outcome)
            if not worker.alive:  # the new one starts while others work
                worker = self._replaced(worker)
            return outcome
        finally:
            self._idle.put(worker)

    def _ready(self, worker: Worker) -> Worker:
        """Return this worker, or a new one in its place."""
        for _ in range(1 + RESTARTS):
            if not worker.alive:
                worker = self._replaced(worker)
            if worker.starts():
                return worker
        raise WorkerError(
            f"a verifier process does not start, in {1 + RESTARTS} tries; `{sys.executable} -m {MODULE} 1 1024` should "
            "wait for input: is math-verify installed, and is there memory?"
        )

    def _started(self) -> Worker:
        try:
            worker = Worker(self._seconds, self._memory_mb)
        except OSError as error:
            raise WorkerError(
                f"a verifier process cannot be started ({error}); lower task.reward.workers={self._number}, or allow "
                "more processes."
            ) from error
        self._all.add(worker)
        return worker

    def _replaced(self, dead: Worker) -> Worker:
        dead.kill()
        with self._lock:
            self._all.discard(dead)
            if self._closed:
                raise WorkerError("the verifier was closed")
            return self._started()


def _end(workers: set[Worker], threads: ThreadPoolExecutor) -> None:
    threads.shutdown(wait=False, cancel_futures=True)
    for worker in list(workers):
        worker.kill()
    workers.clear()
