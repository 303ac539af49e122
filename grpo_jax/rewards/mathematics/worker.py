"""A process that compares answers for `pool.py`: JSON lines in, JSON lines out.

    {"gold": "...", "answer": "..."}  ->  {"outcome": "right"}

It is started by `python -m`, so it shares nothing with the process that trains, and it never imports JAX. It bounds its
own memory and CPU time; if a computation cannot be interrupted, the kernel ends the process. CPU time does not depend
on the load of the machine, so neither does an outcome. The worker ends when its input ends: no parent, no worker.
"""

import json
import math
import os
import queue
import resource
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

AGAIN = 0.2  # CPU seconds until a time-out that was swallowed is raised again
CPU_GRACE = 1  # CPU seconds beyond the limit, at least, after which the kernel ends this process
PARENT_SECONDS = 10.0  # between checks whether the parent is alive


class TimedOut(BaseException):
    """A pair has taken too long. This is not an Exception, so libraries that catch those let it pass."""


def main() -> None:
    """Answer until the input ends. Arguments: seconds of CPU time for each pair, and megabytes of address space."""
    seconds, memory_mb = float(sys.argv[1]), int(sys.argv[2])
    replies = _private_output()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the trainer
    signal.signal(signal.SIGPROF, _raise_timed_out)

    from grpo_jax.rewards.mathematics import judging  # slow: sympy

    judging.warm()
    _limit(resource.RLIMIT_AS, memory_mb * 2**20)
    _limit(resource.RLIMIT_CORE, 0)
    _send(replies, {"ready": "jax" not in sys.modules})
    for request in _requests():
        outcome = "error"
        try:
            with _limited(seconds):
                outcome = judging.outcome_of(request["gold"], request["answer"])
        except TimedOut:
            outcome = "timed_out"
        except MemoryError:
            outcome = "memory"
        except Exception:  # a failing parser concerns this pair alone
            outcome = "error"
        _send(replies, {"outcome": outcome})
        if outcome == "memory":  # what is left of the address space may be too little for the next pair
            break


def _private_output() -> int:
    """Return a descriptor for replies, and discard whatever libraries print."""
    replies = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    return replies


def _send(replies: int, message: dict[str, object]) -> None:
    os.write(replies, (json.dumps(message) + "\n").encode())


def _requests() -> Iterator[dict[str, Any]]:
    """Yield the lines of the input. Another thread reads them, so that its end is noticed in the middle of a pair."""
    lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def read() -> None:
        for line in sys.stdin.buffer:
            lines.put(line)
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    parent = os.getppid()
    while os.getppid() == parent:  # a process forked from the parent may hold the input open for longer than it lives
        with suppress(queue.Empty):
            yield json.loads(lines.get(timeout=PARENT_SECONDS))


def _raise_timed_out(signum: int, frame: FrameType | None) -> None:
    raise TimedOut


def _limit(which: int, most: int) -> None:
    """Limit a resource of this process, at most to its hard limit."""
    _, hard = resource.getrlimit(which)
    resource.setrlimit(which, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


@contextmanager
def _limited(seconds: float) -> Iterator[None]:
    _limit(resource.RLIMIT_CPU, math.ceil(time.process_time() + seconds) + CPU_GRACE)
    signal.setitimer(signal.ITIMER_PROF, seconds, AGAIN)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


if __name__ == "__main__":
    main()
