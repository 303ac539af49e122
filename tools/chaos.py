"""Disturb runs of two processes, each once at a random moment, continue them, and compare all with an undisturbed run.

    python tools/chaos.py --faults=30

Each fault is one of `FAULTS`, in turn. Its moment is drawn uniformly over the lines of metrics of the undisturbed run
but for the last ones, plus up to half a second, or in one case of five before the first line. Both processes must end
within `SECONDS`, with exit codes that fit the fault and a sentence as last words, without a C++ trace. Then the same
command must finish the run, with parameters, optimizer state and metrics that equal those of the undisturbed run bit
for bit.

The default configuration is tiny and lets a verifier process judge each completion (tools/chaos_config.py). All runs
share compiled programs, and each makes its own warm start. A full disk is a small one in memory, which only root may
mount: `unshare --map-root-user --mount python tools/chaos.py` works for other users, where the system allows that.

Exit code 0 if everything was as expected, 1 if not.
"""

import argparse
import contextlib
import dataclasses
import itertools
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from compare_commits import loopback_cluster
from kill_and_resume import LONGEST_DELAY, equal_arrays, lines_written, read_metrics, state_of, train_command, where

from grpo_jax.config import command_line
from grpo_jax.rewards.mathematics import pool

CONFIG = Path(__file__).with_name("chaos_config.py")
SECONDS = 90.0  # from a fault to the end of both processes
JOIN_SECONDS = 40  # that a process waits for the other one at the start
NOT_JOINED = 124  # the exit code of one that waited in vain
WHOLE_RUN = 1800.0  # if the fault should not end them
STOPPED = 42  # the exit code that a stopped run is asked for
EARLY = 0.2  # share of the faults before the first line of metrics
LATEST = 0.95  # share of the lines that have been written when the last faults come
DISK_MB = 64
TRACES = ("*** Check failure stack trace", "terminate called", "Fatal Python error")

Process: TypeAlias = "subprocess.Popen[bytes]"


class Cable:
    """A way to the first process that can be cut."""

    def __init__(self, port: int) -> None:
        """Listen at a port of this machine, from where connections lead to the given one."""
        self._port = port
        self._listener = socket.create_server(("localhost", 0))
        self._ends: list[socket.socket] = []
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:  # it was cut
                return
            self._ends.append(near)
            try:
                far = socket.create_connection(("localhost", self._port))
            except OSError:  # nobody listens yet
                near.close()
                continue
            self._ends.append(far)
            for source, to in ((near, far), (far, near)):
                threading.Thread(target=self._pass_on, args=(source, to), daemon=True).start()

    def _pass_on(self, source: socket.socket, to: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                to.sendall(data)
        for end in (source, to):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def cut(self) -> None:
        for end in (self._listener, *self._ends):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


@dataclass(frozen=True)
class Pair:
    """The two processes of a run."""

    workdir: Path
    processes: Sequence[Process]
    cable: Cable  # from the second to the first

    def ended(self) -> bool:
        return any(process.poll() is not None for process in self.processes)


def send(number: signal.Signals, process: int) -> Callable[[Pair], None]:
    """Return a function that sends a signal to a process."""
    return lambda pair: pair.processes[process].send_signal(number)


def fill_disk(pair: Pair) -> None:
    """Write to the small disk until it is full."""
    with open(filler(pair.workdir), "wb", buffering=0) as file, contextlib.suppress(OSError):
        for size in (2**20, 2**10, 1):
            with contextlib.suppress(OSError):
                while file.write(bytes(size)):
                    pass


def filler(workdir: Path) -> Path:
    """Return the file that fills the disk of a run."""
    return workdir.with_name("filler")


def kill_worker(process: int) -> Callable[[Pair], None]:
    """Return a function that waits for a verifier process of a process, and kills it."""

    def act(pair: Pair) -> None:
        while not pair.ended():
            if workers := workers_of(pair.processes[process].pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(workers[0], signal.SIGKILL)
                return
            time.sleep(0.02)

    return act


def workers_of(parent: int) -> list[int]:
    """Return the ids of the verifier processes that a process has started."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            status = (entry / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            if int(status[1]) == parent and pool.MODULE.encode() in (entry / "cmdline").read_bytes().split(b"\0"):
                found.append(int(entry.name))
    return found


@dataclass(frozen=True)
class Fault:
    """What is done to a run, and how its processes may end."""

    act: Callable[[Pair], None]
    codes: Mapping[int, Sequence[int]]  # by process
    halted: Sequence[int] = ()  # processes that are killed when the other one has ended
    disk: bool = False  # whether the run is on a small disk


KILLED, LEFT = (-signal.SIGKILL,), (128 + signal.SIGKILL, NOT_JOINED)
TOLD, LEFT_TO_IT = (STOPPED, -signal.SIGTERM), (STOPPED, *LEFT)  # a signal that comes before a run listens ends it
FAULTS = {
    "SIGKILL of the second": Fault(send(signal.SIGKILL, 1), {0: LEFT, 1: KILLED}),
    "SIGKILL of the first": Fault(send(signal.SIGKILL, 0), {0: KILLED, 1: LEFT}),
    "SIGTERM of the second": Fault(send(signal.SIGTERM, 1), {0: LEFT_TO_IT, 1: TOLD}),
    "SIGTERM of the first": Fault(send(signal.SIGTERM, 0), {0: TOLD, 1: LEFT_TO_IT}),
    "SIGSTOP of the second": Fault(send(signal.SIGSTOP, 1), {0: LEFT, 1: KILLED}, halted=(1,)),
    "SIGSTOP of the first": Fault(send(signal.SIGSTOP, 0), {0: KILLED, 1: LEFT}, halted=(0,)),
    "full disk": Fault(fill_disk, {0: (1,), 1: (1,)}, disk=True),
    "verifier of the second killed": Fault(kill_worker(1), {0: (0,), 1: (0,)}),
    "network of the second cut": Fault(lambda pair: pair.cable.cut(), {0: LEFT, 1: LEFT}),
}


@dataclass(frozen=True)
class Outcome:
    """What became of a disturbed run."""

    place: str  # where it was disturbed
    codes: Sequence[int]
    seconds: float  # from the fault to the end of both processes
    words: Sequence[str]  # the last ones of each process that had any
    mistakes: Sequence[str]  # what was not as expected

    def row(self, name: str) -> str:
        """Return a row of a table."""
        codes = " and ".join(map(str, self.codes))
        words = "<br>".join(dict.fromkeys(self.words))
        return f"{name} | {self.place} | {codes} | {self.seconds:.0f} | {words} | {'; '.join(self.mistakes) or 'equal'}"


def main(argv: Sequence[str]) -> int:
    """Run the command line, and return the exit code."""
    parser = command_line.parser(__doc__, str(CONFIG))
    parser.add_argument("--faults", type=int, default=30, help="how many runs to disturb; default: 30")
    parser.add_argument("--seed", type=int, default=0, help="of the random moments; default: 0")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="an empty directory in which the runs are kept")
    arguments = command_line.parse(parser, argv)
    with tempfile.TemporaryDirectory() as temporary:
        return disturb_all(arguments, (arguments.keep or Path(temporary)).absolute())


def disturb_all(arguments: argparse.Namespace, directory: Path) -> int:
    """Make all runs in a directory, print a table of them, and return the exit code."""
    rng, failed = random.Random(arguments.seed), 0
    whole = directory / "0" / "run"
    whole.parent.mkdir(parents=True)
    began = time.monotonic()
    pair = start(arguments, whole, directory)
    while not lines_written(whole) and not pair.ended():
        time.sleep(0.02)
    early = time.monotonic() - began
    if any([process.wait() for process in pair.processes]):  # noqa: C419 - waits for all of them
        print(f"the undisturbed run failed: {last_line(whole, 0)}", file=sys.stderr)
        return 1
    (step, state), metrics = state_of(whole), read_metrics(whole)
    print(f"undisturbed: {len(metrics)} lines of metrics\n")
    print(
        "| | fault | at | exit codes | seconds | last words | after the same command |\n|---|---|---|---|---|---|---|"
    )
    for number, name in enumerate(itertools.islice(itertools.cycle(FAULTS), arguments.faults), start=1):
        line = rng.uniform(-EARLY / (1 - EARLY), 1) * LATEST * len(metrics)
        delay = rng.uniform(0, LONGEST_DELAY if line > 0 else early)
        workdir = directory / str(number) / "run"
        workdir.parent.mkdir(parents=True)
        with small_disk(workdir.parent) if FAULTS[name].disk else contextlib.nullcontext():
            outcome = disturb(start(arguments, workdir, directory), FAULTS[name], line, delay)
            again = [process.wait() for process in start(arguments, workdir, directory, "again").processes]
            mistakes = [*outcome.mistakes]
            if any(again):
                mistakes.append(f"exit codes {again}")
            elif not equals(workdir, step, state, metrics):
                mistakes.append("NOT equal")
        failed += bool(mistakes)
        print(f"| {number} | {dataclasses.replace(outcome, mistakes=mistakes).row(name)} |", flush=True)
    return int(failed > 0)


def equals(workdir: Path, step: int, state: Any, metrics: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether a run has come to a step with this state and these metrics, bit for bit."""
    its_step, its_state = state_of(workdir)
    return its_step == step and all(equal_arrays(its_state, state)) and read_metrics(workdir) == metrics


def start(arguments: argparse.Namespace, workdir: Path, caches: Path, attempt: str = "first") -> Pair:
    """Start both processes of a run. It makes its own warm start, and finds the programs of the earlier runs."""
    command = [*train_command(arguments, workdir), "--distributed", f"--stopped-code={STOPPED}"]
    command.append(f"--join-seconds={JOIN_SECONDS}")
    first, second = loopback_cluster(2)
    address = "JAX_COORDINATOR_ADDRESS"
    cable = Cable(int(first[address].rpartition(":")[2]))
    cache = caches / "cache"
    for base in (cache / "grpo_jax").glob("warm_start_*"):
        base.unlink()
    processes = []
    for index, variables in enumerate((first, second | {address: f"localhost:{cable.port}"})):
        paths = os.pathsep.join(filter(None, [str(CONFIG.parent), os.environ.get("PYTHONPATH")]))
        environment = os.environ | variables | {"XDG_CACHE_HOME": str(cache), "PYTHONPATH": paths}
        with open(log(workdir, index, attempt), "w", encoding="utf-8") as output:
            processes.append(subprocess.Popen(command, env=environment, stdout=output, stderr=output))
    return Pair(workdir, processes, cable)


def disturb(pair: Pair, fault: Fault, line: float, delay: float) -> Outcome:
    """Do something to a run at a moment, wait until both processes have ended, and kill those that are late.

    Args:
      line: of metrics, that must have been written.
      delay: seconds after it, or from the start if the line is below 0.
    """
    while not pair.ended() and lines_written(pair.workdir) < line:
        time.sleep(0.02)
    time.sleep(delay)
    place, over, mistakes = where(pair.workdir), pair.ended(), []
    fault.act(pair)
    began = time.monotonic()
    limit = SECONDS if 0 not in fault.codes[0] else WHOLE_RUN
    codes = {}
    for index in sorted((0, 1), key=lambda index: index in fault.halted):
        if index in fault.halted:
            pair.processes[index].kill()
        try:
            codes[index] = pair.processes[index].wait(max(began + limit - time.monotonic(), 1))
        except subprocess.TimeoutExpired:
            mistakes.append(f"process {index} did not end in {limit:.0f} s")
            for process in pair.processes:
                process.kill()
            codes[index] = pair.processes[index].wait()
    seconds = time.monotonic() - began
    filler(pair.workdir).unlink(missing_ok=True)
    words = [last_line(pair.workdir, index) for index in (0, 1) if codes[index] > 0]
    if codes == {0: 0, 1: 0} and (over or 0 not in fault.codes[0]):
        place = f"{place}, too late"
    else:
        mistakes += ["ended before the fault"] * over + mistakes_of(pair.workdir, fault, codes)
    return Outcome(place, [codes[0], codes[1]], seconds, words, mistakes)


def mistakes_of(workdir: Path, fault: Fault, codes: Mapping[int, int]) -> list[str]:
    """Return what is wrong with the exit codes and the last words of the processes, in words."""
    mistakes = []
    for index, code in codes.items():
        if code not in fault.codes[index]:
            mistakes.append(f"unexpected exit code of process {index}")
        if any(trace in output_of(workdir, index) for trace in TRACES):
            mistakes.append(f"C++ trace of process {index}")
        last = last_line(workdir, index)
        if code > 0 and not (last.startswith("error: ") or last.endswith("; the same command continues")):
            mistakes.append(f"process {index} ends without a sentence")
    return mistakes


@contextlib.contextmanager
def small_disk(place: Path) -> Iterator[None]:
    """Make a directory a disk of its own for a while, so small that it can be filled."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", str(place)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def log(workdir: Path, index: int, attempt: str) -> Path:
    """Return the file with the output of a process, which is not on the run's disk."""
    return workdir.parent.with_name(f"{workdir.parent.name}_{attempt}_{index}.log")


def output_of(workdir: Path, index: int) -> str:
    """Return the output of a process of the run that was disturbed."""
    return log(workdir, index, "first").read_text(encoding="utf-8", errors="replace")


def last_line(workdir: Path, index: int) -> str:
    """Return the last words of a process."""
    lines = output_of(workdir, index).strip().splitlines()
    return lines[-1].strip() if lines else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
