"""Disturb a run of two processes at random moments, continue it each time, and compare it with an undisturbed run.

    python tools/chaos.py --config=configs/two_grpo.py --faults=30

Both runs make their own warm start, on two processes of this machine. Each fault is one of `FAULTS`, in turn. After it
both processes must end within `SECONDS`, with exit codes that fit the fault. The moments are drawn uniformly over the
lines of metrics of the undisturbed run, plus up to half a second.

Exit code 0 if they always did, and parameters, optimizer state and metrics are equal bit for bit; 1 if not.
"""

import argparse
import itertools
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from compare_commits import loopback_cluster
from kill_and_resume import LONGEST_DELAY, compare, lines_written, train_command, where

from grpo_jax.config import command_line
from grpo_jax.runs.directory import METRICS_FILE

SECONDS = 90.0  # from a fault to the end of both processes
STOPPED = 42  # the exit code that a stopped run is asked for

Process: TypeAlias = "subprocess.Popen[bytes]"


def fill_disk(process: Process, workdir: Path) -> None:
    """Let every further line of metrics find the disk full, until `make_room`."""
    metrics = workdir / METRICS_FILE
    metrics.rename(aside(workdir))
    metrics.symlink_to("/dev/full")


def make_room(workdir: Path) -> None:
    """Undo `fill_disk`."""
    if aside(workdir).exists():
        aside(workdir).replace(workdir / METRICS_FILE)


def aside(workdir: Path) -> Path:
    """Return where a run's metrics are while the disk is full."""
    return workdir / f"{METRICS_FILE}.aside"


def send(number: signal.Signals) -> Callable[[Process, Path], None]:
    """Return a function that sends a signal to a process."""
    return lambda process, workdir: process.send_signal(number)


@dataclass(frozen=True)
class Fault:
    """What is done to one process, and how both may end."""

    process: int
    act: Callable[[Process, Path], None]
    codes: Mapping[int, Sequence[int]]  # by process


KILLED = (-signal.SIGKILL,)
# JAX aborts a process if the first one is gone, or if any is before a run watches itself.
LEFT = (128 + signal.SIGKILL, -signal.SIGABRT)
FAULTS = {
    "the second process is killed": Fault(1, send(signal.SIGKILL), {0: LEFT, 1: KILLED}),
    "the first process is killed": Fault(0, send(signal.SIGKILL), {0: KILLED, 1: LEFT}),
    # A signal that comes before a run listens ends that process, and its end the other one.
    "the second process gets SIGTERM": Fault(
        1, send(signal.SIGTERM), {0: (STOPPED, *LEFT), 1: (STOPPED, -signal.SIGTERM)}
    ),
    "the first process gets SIGTERM": Fault(
        0, send(signal.SIGTERM), {0: (STOPPED, -signal.SIGTERM), 1: (STOPPED, *LEFT)}
    ),
    "the second process is halted": Fault(1, send(signal.SIGSTOP), {0: LEFT, 1: KILLED}),  # killed in the end
    "the disk is full": Fault(0, fill_disk, {0: (1,), 1: (1,)}),
}


def main(argv: Sequence[str]) -> int:
    """Run the command line, and return the exit code."""
    parser = command_line.parser(__doc__)
    parser.add_argument("--faults", type=int, default=30, help="how often to disturb the run; default: 30")
    parser.add_argument("--seed", type=int, default=0, help="of the random moments; default: 0")
    arguments = command_line.parse(parser, argv)
    rng = random.Random(arguments.seed)
    names = list(itertools.islice(itertools.cycle(FAULTS), arguments.faults))
    fits = True
    with tempfile.TemporaryDirectory() as directory:
        whole, disturbed = Path(directory) / "whole", Path(directory) / "disturbed"
        if any([process.wait() for process in start(arguments, whole)]):  # noqa: C419 - waits for all of them
            print(f"the undisturbed run failed: {last_line(whole, 0)}", file=sys.stderr)
            return 1
        total = lines_written(whole)
        print(f"undisturbed: {total} lines of metrics", flush=True)
        for name, line in zip(names, sorted(rng.uniform(0, total) for _ in names), strict=True):
            processes = start(arguments, disturbed)
            while all(process.poll() is None for process in processes) and lines_written(disturbed) < line:
                time.sleep(0.02)
            time.sleep(rng.uniform(0, LONGEST_DELAY))
            place = where(disturbed)
            seconds, codes = disturb(FAULTS[name], processes, disturbed)
            fitting = seconds < SECONDS and all(codes[index] in FAULTS[name].codes[index] for index in (0, 1))
            over = codes == [0, 0]
            fits = fits and (fitting or over)
            verdict = "too late, the run was over" if over else "as expected" if fitting else "NOT as expected"
            print(f"{name} {place}: exit codes {codes} after {seconds:.0f} s, {verdict}", flush=True)
            for index in (0, 1):
                print(f"    {index}: {last_line(disturbed, index)}", flush=True)
        codes = [process.wait() for process in start(arguments, disturbed)]
        return 1 if any(codes) or not fits else compare(whole, disturbed)


def start(arguments: argparse.Namespace, workdir: Path) -> Sequence[Process]:
    """Start both processes of a run, each with a cache of its own."""
    command = [*train_command(arguments, workdir), "--distributed", f"--stopped-code={STOPPED}"]
    processes = []
    for index, variables in enumerate(loopback_cluster(2)):
        environment = os.environ | variables | {"XDG_CACHE_HOME": f"{workdir}_cache{index}"}
        with open(log(workdir, index), "w", encoding="utf-8") as output:
            processes.append(subprocess.Popen(command, env=environment, stdout=output, stderr=output))
    return processes


def disturb(fault: Fault, processes: Sequence[Process], workdir: Path) -> tuple[float, list[int]]:
    """Do something to a process, and return the seconds until both have ended, and their exit codes.

    A process that was halted is killed when the other one has ended. What has not ended in time is killed.
    """
    fault.act(processes[fault.process], workdir)
    began = time.monotonic()
    other = processes[1 - fault.process]
    try:
        other.wait(SECONDS)
        seconds = time.monotonic() - began
        if fault.codes[fault.process] == KILLED:
            processes[fault.process].kill()
        processes[fault.process].wait(max(SECONDS - seconds, 1))
    except subprocess.TimeoutExpired:
        for process in processes:
            process.kill()
    make_room(workdir)
    return time.monotonic() - began, [process.wait() for process in processes]


def log(workdir: Path, index: int) -> Path:
    """Return the file with the output of a process."""
    return workdir.with_name(f"{workdir.name}_{index}.log")


def last_line(workdir: Path, index: int) -> str:
    """Return the last words of a process."""
    lines = log(workdir, index).read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else "(nothing)"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
