"""Kill a run with SIGKILL at random moments, continue it each time, and compare it with an undisturbed run.

    python tools/kill_and_resume.py --config=configs/two_grpo.py --kills=10

Both runs make their own warm start. The moments are drawn uniformly over the lines of metrics of the undisturbed run,
plus up to half a second. So they fall into the warm start, training, evaluations and the writing of checkpoints, and
into the start of the program if two of them are close.

Exit code 0 if parameters, optimizer state and metrics are equal bit for bit, 1 if they are not.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from grpo_jax.commands import argv_prefix
from grpo_jax.config import command_line
from grpo_jax.runs.lines import TIMES
from grpo_jax.training import restore

LONGEST_DELAY = 0.5  # seconds between a kill's line of metrics and the kill


def main(argv: Sequence[str]) -> int:
    """Run the command line, and return the exit code."""
    parser = command_line.parser(__doc__)
    parser.add_argument("--kills", type=int, default=10, help="how often to kill the run; default: 10")
    parser.add_argument("--seed", type=int, default=0, help="of the random moments; default: 0")
    arguments = command_line.parse(parser, argv)
    rng = random.Random(arguments.seed)

    with tempfile.TemporaryDirectory() as directory:
        whole, killed = Path(directory) / "whole", Path(directory) / "killed"
        started = time.monotonic()
        if start(arguments, whole).wait():
            return 1
        total = lines_written(whole)
        print(f"undisturbed: {time.monotonic() - started:.0f} s, {total} lines of metrics", flush=True)

        for kill, line in enumerate(sorted(rng.uniform(0, total) for _ in range(arguments.kills)), start=1):
            process = start(arguments, killed)
            while process.poll() is None and lines_written(killed) < line:
                time.sleep(0.02)
            time.sleep(rng.uniform(0, LONGEST_DELAY))
            over = process.poll() is not None
            process.kill()
            process.wait()
            print(f"kill {kill}: {'too late, the run was over' if over else where(killed)}", flush=True)
        code = start(arguments, killed).wait()
        return 1 if code else compare(whole, killed)


def train_command(arguments: argparse.Namespace, workdir: Path) -> list[str]:
    """Return the command that starts a run in a process of its own."""
    overrides = [f"--config.{field}={text}" for field, text in arguments.overrides]
    return [*argv_prefix("train"), f"--config={arguments.config}", f"--workdir={workdir}", *overrides]


def start(arguments: argparse.Namespace, workdir: Path) -> subprocess.Popen[bytes]:
    """Start a run with a cache of its own."""
    return subprocess.Popen(
        train_command(arguments, workdir),
        env=os.environ | {"XDG_CACHE_HOME": f"{workdir}_cache"},
        stdout=subprocess.DEVNULL,
    )


def where(workdir: Path) -> str:
    """Return how far a run's metrics reach, in words."""
    lines = read_metrics(workdir)
    return f"at {lines[-1]['phase']} step {lines[-1]['step']}" if lines else "before the first step"


def lines_written(workdir: Path) -> int:
    """Return the number of complete lines of metrics so far."""
    path = workdir / "metrics.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def read_metrics(workdir: Path) -> list[dict[str, Any]]:
    """Return the complete lines of metrics.jsonl without times."""
    path = workdir / "metrics.jsonl"
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    return [{name: value for name, value in json.loads(line).items() if name not in TIMES} for line in lines]


def state_of(workdir: Path) -> tuple[int, Any]:
    """Return the newest step of a run that was saved, and its state as host arrays."""
    _, restored = restore(workdir)
    return restored.step, jax.device_get(restored.state)


def equal_arrays(first: Any, second: Any) -> list[bool]:
    """Return for each array of two states whether it is equal, bit for bit."""
    return jax.tree.leaves(jax.tree.map(np.array_equal, first, second))


def compare(whole: Path, killed: Path) -> int:
    """Print what is equal, and return the exit code."""
    (step, first), (other_step, second) = state_of(whole), state_of(killed)
    leaves = equal_arrays(first, second)
    same_state = step == other_step and all(leaves)
    same_metrics = read_metrics(whole) == read_metrics(killed)
    print(f"steps {step} and {other_step}, {sum(leaves)} of {len(leaves)} arrays of the state are equal bit for bit")
    print(f"{len(read_metrics(whole))} lines of metrics are {'equal' if same_metrics else 'NOT equal'}")
    return 0 if same_state and same_metrics else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
