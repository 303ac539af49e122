"""The real worker, with a comparison that does what the answer says."""

import collections
import itertools
import os
import signal
import sys
import time
import types
from pathlib import Path

from grpo_jax.rewards.mathematics import worker


def loop():
    while True:
        pass


def hang():
    """A call into C that takes for ever: no handler of a signal gets to run."""
    collections.deque(itertools.repeat(0), maxlen=0)


def work():
    """Two thirds of what a pair may take."""
    end = time.process_time() + 2 / 3 * float(sys.argv[1])
    while time.process_time() < end:
        pass
    return "right"


def once(signal_number):
    """Ends this worker, but not another one that is given the same pair."""
    marker = Path(os.environ["MISBEHAVED"])
    if not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal_number)
        time.sleep(1000)
    return "right"


def noise():
    print("noise")
    print('{"outcome": "wrong"}', flush=True)
    os.write(1, b'{"outcome": "wrong"}\n')
    print("noise", file=sys.stderr, flush=True)
    return "right"


DEEDS = {
    "right": lambda: "right",
    "wrong": lambda: "wrong",
    "loop": loop,
    "hang": hang,
    "work": work,
    "sleep": lambda: time.sleep(1000),
    "stop": lambda: os.kill(os.getpid(), signal.SIGSTOP),
    "killed once": lambda: once(signal.SIGKILL),
    "stopped once": lambda: once(signal.SIGSTOP),
    "segfault": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    "noise": noise,
    "raise": lambda: 1 / 0,
    "exit": lambda: os._exit(3),
    "memory": lambda: bytearray(2**30),  # which the machine has, and a worker may not take
    "jax": lambda: "wrong" if any(name.split(".")[0] in ("jax", "jaxlib") for name in sys.modules) else "right",
    "own process": lambda: "right" if "pytest" not in sys.modules and os.getpgrp() == os.getpid() else "wrong",
}

# In the place of the real comparison, which takes long to import.
judging = types.ModuleType("judging")
judging.warm, judging.outcome_of = lambda: None, lambda gold, answer: DEEDS[answer]()
sys.modules["grpo_jax.rewards.mathematics.judging"] = judging

if __name__ == "__main__":
    if "KILLED_AT_START" in os.environ:  # as often as that file has characters
        left = Path(os.environ["KILLED_AT_START"])
        if text := left.read_text():
            left.write_text(text[1:])
            os.kill(os.getpid(), signal.SIGKILL)
    worker.main()
