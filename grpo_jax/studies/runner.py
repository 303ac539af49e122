"""Runs a study: each run in a process of its own, so many at once, each on cores of its own."""

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grpo_jax.studies.loading import begin
from grpo_jax.studies.study import ROOT, Run, Study

POLL_SECONDS = 0.2
BASE_POLICY = "warm_start/params.safetensors"  # of a run directory


@dataclass(frozen=True)
class Outcome:
    """What became of the runs that a call was to make."""

    failed: tuple[tuple[Run, str], ...]  # with the last line of their logs
    stopped: bool  # by a signal, with everything saved


@dataclass
class _Going:
    run: Run
    process: subprocess.Popen[bytes]
    cores: frozenset[int]
    since: float


def commands(study: Study, workdir: Path) -> list[str]:
    """A line for the shell for each run that is not finished: for many machines that share the directory."""
    begin(study, workdir)
    return [shlex.join(_command(run, workdir)) for run in study.runs() if not run.finished(workdir)]


def run_study(study: Study, workdir: Path, jobs: int, tell: Callable[[str], None] = print) -> Outcome:
    """Makes the runs that are not finished; those that were interrupted continue.

    Args:
      jobs: processes at once; the cores that this process may use are divided among them.
      tell: is called with a line for every run that ends.

    Raises:
      ConfigError: if the directory belongs to another study.
    """
    begin(study, workdir)
    todo = [run for run in study.runs() if not run.finished(workdir)]
    free = _shares(jobs)
    going: list[_Going] = []
    failed: list[tuple[Run, str]] = []
    with _stop_requests() as stops:
        while going or (todo and not stops):
            if stops:
                _terminate(going)
            while todo and free and not stops and _base_policy_there(going, workdir):
                going.append(_start(todo.pop(0), workdir, free.pop()))
            for one in [one for one in going if one.process.poll() is not None]:
                going.remove(one)
                free.append(one.cores)
                if one.process.returncode or not (one.run.finished(workdir) or stops):
                    failed.append((one.run, _last_line(_log(one.run, workdir))))
                tell(_told(one, workdir))
            time.sleep(POLL_SECONDS)
    return Outcome(tuple(failed), stopped=bool(stops))


def _command(run: Run, workdir: Path) -> list[str]:
    overrides = {**run.arm.overrides, "seed": str(run.seed)}
    return [
        sys.executable,
        str(ROOT / "launch" / "main.py"),
        f"--config={run.arm.config_path}",
        f"--workdir={run.directory(workdir).absolute()}",
        *(f"--config.{field}={text}" for field, text in overrides.items()),
    ]


def _start(run: Run, workdir: Path, cores: frozenset[int]) -> _Going:
    log = _log(run, workdir)
    log.parent.mkdir(parents=True, exist_ok=True)
    # Runs of an arm differ by their seed only: what one has compiled serves the others.
    compiled = {"JAX_COMPILATION_CACHE_DIR": str((workdir / "compiled").absolute())}
    with open(log, "ab") as file:
        process = subprocess.Popen(  # in a session of its own, so that Ctrl-C reaches it once, through us
            _command(run, workdir),
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": str(ROOT), **compiled},
            start_new_session=True,
        )
    if hasattr(os, "sched_setaffinity"):
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(process.pid, cores)
    return _Going(run, process, cores, time.monotonic())


def _shares(jobs: int) -> list[frozenset[int]]:
    """The cores that this process may use, divided among so many jobs."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))
    return [frozenset(cores[job % len(cores) :: jobs] or cores[job % len(cores) :][:1]) for job in range(jobs)]


def _base_policy_there(going: Sequence[_Going], workdir: Path) -> bool:
    """All arms share a base policy: the first run to make it is waited for, and the others find it in the cache."""
    return all(
        (one.run.directory(workdir) / BASE_POLICY).exists() or not one.run.arm.configuration(one.run.seed).warm_start
        for one in going
    )


def _terminate(going: Sequence[_Going]) -> None:
    """Asks each once; it saves, and ends with code 0."""
    for one in going:
        if one.process.poll() is None and one.since:
            one.process.send_signal(signal.SIGTERM)
            one.since = 0.0


@contextlib.contextmanager
def _stop_requests() -> Iterator[list[int]]:
    """Collects SIGTERM and SIGINT while it is open."""
    stops: list[int] = []
    before = {number: signal.signal(number, lambda number, _: stops.append(number)) for number in _SIGNALS}
    try:
        yield stops
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def _told(one: _Going, workdir: Path) -> str:
    name = f"{one.run.arm.name}, seed {one.run.seed}"
    if not one.run.finished(workdir):
        return f"{name}: ended with code {one.process.returncode} and is not finished"
    summary: dict[str, Any] = json.loads((one.run.directory(workdir) / "summary.json").read_text())
    base, final, minutes = summary["base"]["pass@1"], summary["final"]["pass@1"], summary["seconds"]["total"] / 60
    return f"{name}: test pass@1 {base:.3f} -> {final:.3f} in {minutes:.1f} minutes"


def _log(run: Run, workdir: Path) -> Path:
    return workdir / "logs" / f"{run.arm.slug}.seed_{run.seed}.log"


def _last_line(path: Path) -> str:
    lines = path.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it wrote nothing"
