"""Compare the project's training steps with those of Tunix, of TRL and of a loop in plain JAX.

    make bench-peers [SIZE=tiny] [WORK="equal mixed_void"] [REPS=5]
    python benchmarks/peers/compare.py --size tiny --work equal --json=peers.jsonl [--config.FIELD=VALUE ...]

Every system runs in a process and an environment of its own. We and one opponent at a time take turns, so that the two
steps of a pair run under the same conditions, and only two processes hold memory. The first step of each is not part of
a pair, nor is the second. Flags that begin with --config. go to the project's configuration.

Prints tables: medians of seconds, and pair by pair how many times as long as ours the opponent's step took (median and
quartiles), and our memory as a share of its. "cores of others" says how busy the machine was with anything but the
step; above .1, distrust the seconds, and look at the CPU time. --json keeps every measurement, and --print makes the
tables of such files again.
"""

import argparse
import itertools
import json
import os
import platform
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path

import records
from records import OURS, Life, Record, Setting, Turn
from turns import GO, Finished
from work import CASES, Case

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PEERS = ("plain_jax", "tunix", "trl")
SECONDS_TO_END = 60.0  # that a worker has after its last turn
MOST_OF_A_LOG = 3000  # characters


class WorkerError(RuntimeError):
    """A worker of a system has ended by itself. The text has its last output."""

    def __init__(self, system: str, text: str):
        super().__init__(text)
        self.system = system


class Worker:
    """A process that runs the steps of a case with one system, one at a time."""

    def __init__(self, system: str, command: Sequence[str], case: Case, log: Path):
        """Start the process, and return when its first step has ended. Its other output goes to `log`."""
        self.system = system
        self._log = log
        self._began, self._busy, self._used = time.perf_counter(), busy_seconds(), 0.0
        with log.open("w", encoding="utf-8") as others:
            self._process = subprocess.Popen(
                [*command, json.dumps(case.to_json())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=others,
                encoding="utf-8",
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "JAX_PLATFORMS": "cpu"},
            )
        self._case = case.name
        try:
            self._versions = self._report().versions
        except WorkerError:
            self.close()
            raise
        self._first_step_seconds = time.perf_counter() - self._began
        self._other_cores = self._cores()[1]

    def turn(self, opponent: str, number: int) -> Turn:
        """Let the worker take a step."""
        self._began, self._busy, self._used = time.perf_counter(), busy_seconds(), self._cpu_seconds()
        assert self._process.stdin is not None
        self._process.stdin.write(GO)
        self._process.stdin.flush()
        step = self._report()
        own, others = self._cores()
        return Turn(
            self._case, self.system, opponent, number, step.seconds, step.rollout_seconds, step.tokens, own, others
        )

    def end(self) -> Life:
        """End the process, and return the record of its life."""
        peak = _peak_bytes(self._process.pid) / 1e9
        self.close()
        return Life(self._case, self.system, self._first_step_seconds, self._other_cores, peak, self._versions)

    def close(self) -> None:
        """End the process. May be called more than once."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def _report(self) -> Finished:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            wrote = self._log.read_text(encoding="utf-8", errors="replace")[-MOST_OF_A_LOG:]
            raise WorkerError(self.system, f"{self.system} has ended with code {self._process.returncode}:\n{wrote}")
        return Finished(**json.loads(line))

    def _cores(self) -> tuple[float, float]:
        """Return how many cores the worker, and everything else, have used on average since the turn began."""
        seconds, own = time.perf_counter() - self._began, self._cpu_seconds() - self._used
        return own / seconds, max(0.0, busy_seconds() - self._busy - own) / seconds

    def _cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self._process.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # user and system


def busy_seconds() -> float:
    """Return the seconds that all cores together have been busy, also for other virtual machines."""
    user, nice, system, _, _, irq, softirq, steal = map(
        int, Path("/proc/stat").read_text(encoding="utf-8").splitlines()[0].split()[1:9]
    )
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def _peak_bytes(process: int) -> int:
    lines = Path(f"/proc/{process}/status").read_text(encoding="utf-8").splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


Start = Callable[[str, Case], Worker]


def compare(case: Case, peers: Sequence[str], repetitions: int, start: Start) -> Iterator[Record]:
    """Yield our turns and those of one peer after the other, pair by pair, and at last a record of each worker.

    If a peer fails, its error is printed to standard error, and the peer is left out.
    """
    ours = start(OURS, case)
    try:
        ours.turn("", 0)  # whatever is still compiled or allocated then
        for peer in peers:
            try:
                yield from _against(ours, start(peer, case), repetitions)
            except WorkerError as error:
                if error.system == OURS:
                    raise
                print(f"{case.name}: {error}", file=sys.stderr)
        yield ours.end()
    finally:
        ours.close()


def _against(ours: Worker, theirs: Worker, repetitions: int) -> Iterator[Record]:
    try:
        theirs.turn("", 0)
        for number in range(repetitions):
            yield ours.turn(theirs.system, number)
            yield theirs.turn(ours.system, number)
        yield theirs.end()
    finally:
        theirs.close()


def this_setting(cores: int) -> Setting:
    """Return where and with which code this process measures."""

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", ROOT, *arguments], capture_output=True, text=True, check=False
        ).stdout.strip()

    processors = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    name = next((line.partition(":")[2].strip() for line in processors if line.startswith("model name")), "")
    return Setting(
        began=datetime.now(UTC).isoformat(timespec="seconds"),
        command=shlex.join(sys.argv),
        commit=git("rev-parse", "HEAD") + " with changes" * bool(git("status", "--porcelain", "-uno")),
        machine=f"{name or platform.processor()}, {platform.system()} {platform.machine()}",
        cores=cores,
        python=platform.python_version(),
    )


def main(argv: Sequence[str]) -> int:
    """Run the command line, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=CASES, nargs="+", default=["tiny"])
    parser.add_argument("--work", choices=CASES["tiny"], nargs="+", default=["equal", "mixed_void"], metavar="KIND")
    parser.add_argument("--peers", choices=PEERS, nargs="+", default=PEERS, metavar="PEER")
    parser.add_argument("--repetitions", type=int, default=5, help="pairs of steps with each peer")
    parser.add_argument("--cores", type=int, default=2, help="that all systems may use")
    parser.add_argument("--environments", type=Path, default=ROOT / ".venv-peers", help="a folder for each peer")
    parser.add_argument("--json", type=Path, help="a file to which every measurement is appended")
    parser.add_argument("--print", type=Path, nargs="+", metavar="FILE", help="only print the tables of these files")
    arguments, ours = parser.parse_known_args(argv)
    if arguments.print:
        print("\n".join(records.tables([record for path in arguments.print for record in records.read(path)])))
        return 0
    if wrong := [flag for flag in ours if not flag.startswith("--config.")]:
        parser.error(f"unknown flags: {shlex.join(wrong)}")
    if arguments.repetitions < 1:
        parser.error(f"--repetitions={arguments.repetitions}: must be at least 1")
    allowed = sorted(os.sched_getaffinity(0))[: arguments.cores]
    os.sched_setaffinity(0, allowed)  # workers inherit it

    cases = [CASES[size][kind] for size in arguments.size for kind in arguments.work]
    found: list[Record] = []
    with (
        tempfile.TemporaryDirectory() as logs,
        arguments.json.open("a", encoding="utf-8") if arguments.json else nullcontext() as lines,
    ):

        def start(system: str, case: Case) -> Worker:
            python = sys.executable if system == OURS else str(arguments.environments / system / "bin" / "python")
            command = [python, str(HERE / f"run_{system}.py"), *(ours if system == OURS else ())]
            return Worker(system, command, case, Path(logs) / f"{system}.log")

        measured = (record for case in cases for record in compare(case, arguments.peers, arguments.repetitions, start))
        for record in itertools.chain([this_setting(len(allowed))], measured):
            found.append(record)
            if lines:
                print(records.to_line(record), file=lines, flush=True)
            if isinstance(record, Turn):
                print(f"{record.case}: {record.system} {record.seconds:.2f} s", file=sys.stderr)
    print("\n".join(records.tables(found)))
    lives = sum(isinstance(record, Life) for record in found)
    return int(lives < len(cases) * (1 + len(arguments.peers)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
