"""The real worker, with a comparison that does what the answer says."""

import os
import signal
import sys
import time

from grpo_jax.rewards.mathematics import judging, worker


def loop():
    while True:
        time.sleep(0.01)


def hang():
    """As a call into C does that takes for ever: no signal gets through."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
    time.sleep(1000)


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
    "noise": noise,
    "raise": lambda: 1 / 0,
    "exit": lambda: os._exit(3),
    "memory": lambda: bytearray(2**30),  # which the machine has, and a worker may not take
    "jax": lambda: "wrong" if any(name.split(".")[0] in ("jax", "jaxlib") for name in sys.modules) else "right",
    "own process": lambda: "right" if "pytest" not in sys.modules and os.getpgrp() == os.getpid() else "wrong",
}

judging.judge = lambda gold, answer: DEEDS[answer]()

if __name__ == "__main__":
    worker.main()
