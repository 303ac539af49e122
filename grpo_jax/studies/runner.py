"""The runner of a study: it starts each run in a process of its own, several at once, each on its own cores."""

import contextlib
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import grpo_jax
from grpo_jax.config import command_line, counted, digest, known, to_dict
from grpo_jax.runs.directory import BASE_POLICY, RunDirectory
from grpo_jax.runs.summary import WITHOUT_VERDICTS
from grpo_jax.studies.directory import begin
from grpo_jax.studies.study import Arm, Study, StudyRun
from grpo_jax.terminal import acknowledge

ROOT = Path(grpo_jax.__file__).resolve().parents[1]  # where runs find the package
POLL_SECONDS = 0.2
SECONDS_BETWEEN_LINES = 60.0  # between reports on the runs that are going on
AT_FIRST_SIGNAL = (
    "the runs finish their steps and save, then the study ends. A second signal ends them at once, and their steps "
    "since the last checkpoints are lost."
)
AT_SECOND_SIGNAL = "the runs end at once; the same command continues them from their last checkpoints"


@dataclass(frozen=True)
class Outcome:
    """The outcome of a study's runs."""

    failed: tuple[tuple[StudyRun, str], ...]  # with the last line of their logs
    stopped: bool  # by a signal, with everything saved


@dataclass
class _Going:
    run: StudyRun
    process: subprocess.Popen[bytes]
    cores: frozenset[int]


def commands(study: Study, workdir: Path, train: Sequence[str]) -> list[str]:
    """Return a shell command for each unfinished run, for many machines that share the directory.

    Args:
      train: the words of the command that trains.
    """
    begin(study, workdir)
    return [shlex.join(_command(train, run, workdir)) for run in study.runs() if not run.finished(workdir)]


def run_study(
    study: Study,
    workdir: Path,
    jobs: int,
    train: Sequence[str],
    tell: Callable[[str], None] = command_line.tell,
) -> Outcome:
    """Run all runs of a study that are not finished, and return the outcome. Interrupted ones continue.

    Args:
      jobs: processes at a time; the cores that this process may use are divided among them.
      train: the words of the command that trains.
      tell: called with a line when a run begins or ends, and every minute for those that go on.

    Raises:
      ConfigError: if the directory belongs to another study.
    """
    begin(study, workdir)
    every = list(study.runs())
    todo = [run for run in every if not run.finished(workdir)]
    tell(
        f"{counted(len(every), 'run')}, {counted(len(study.arms), 'arm')} x {counted(len(study.seeds), 'seed')}: "
        f"{len(every) - len(todo)} finished; at most {jobs} at a time, with their output in {workdir / 'logs'}"
    )
    free = shares(jobs)
    turns = _Turns(study, workdir)
    going: list[_Going] = []
    failed: list[tuple[StudyRun, str]] = []
    with _stop_requests() as stops, _terminated_on_exit(going):
        passed_on, last_told = 0, time.monotonic()
        while going or (todo and not stops):
            while todo and free and not stops and turns.may_start(todo[0], [one.run for one in going]):
                going.append(_start(train, todo.pop(0), workdir, free.pop(0)))
                tell(f"{_name(going[-1].run)}: begun, run {every.index(going[-1].run) + 1} of {len(every)}")
            if len(stops) > passed_on:  # a second signal stops the runs at once, as it does a single run
                passed_on = len(stops)
                _terminate(going)
            for one in [one for one in going if one.process.poll() is not None]:
                going.remove(one)
                free.append(one.cores)
                if not stops and (one.process.returncode or not one.run.finished(workdir)):
                    failed.append((one.run, _last_line(_log(one.run, workdir))))
                elif reason := _nothing_to_compare(one.run, workdir):
                    failed.append((one.run, reason))
                    todo.clear()  # the others would end like this one
                tell(_told(one, workdir))
            if time.monotonic() - last_told > SECONDS_BETWEEN_LINES:
                last_told = time.monotonic()
                for one in going:
                    tell(f"{_name(one.run)}: {_last_line(_log(one.run, workdir))}")
            time.sleep(POLL_SECONDS)
    return Outcome(tuple(failed), stopped=bool(stops))


class _Turns:
    """Decides which runs may start: one run makes a base policy alone, and the others find it in the cache."""

    def __init__(self, study: Study, workdir: Path):
        self._workdir = workdir
        self._made: set[str] = set()
        self._recipes = {arm.name: _recipe(arm, study.seeds[0]) for arm in study.arms}
        for run in study.runs():
            self._look(run)

    def may_start(self, run: StudyRun, going: Sequence[StudyRun]) -> bool:
        """Return whether a run may start now: unless another one is still making the base policy that it needs."""
        for other in going:
            self._look(other)
        recipe = self._recipes[run.arm.name]
        return recipe is None or recipe in self._made or recipe not in {self._recipes[one.arm.name] for one in going}

    def _look(self, run: StudyRun) -> None:
        recipe = self._recipes[run.arm.name]
        if recipe and recipe not in self._made and (run.directory(self._workdir) / BASE_POLICY).exists():
            self._made.add(recipe)


def _recipe(arm: Arm, seed: int) -> str | None:
    """Return a digest of everything that identifies a base policy; None if the run makes none."""
    config = arm.configuration(seed)
    values = to_dict(config)
    return digest({name: values[name] for name in ("task", "model", "warm_start")}) if config.warm_start else None


def _command(train: Sequence[str], run: StudyRun, workdir: Path) -> list[str]:
    overrides = {**run.arm.overrides, "seed": str(run.seed)}
    return [
        *train,
        f"--config={run.arm.config_path}",
        f"--workdir={run.directory(workdir).absolute()}",
        *(f"--config.{field}={text}" for field, text in overrides.items()),
    ]


def _start(train: Sequence[str], run: StudyRun, workdir: Path, cores: frozenset[int]) -> _Going:
    log = _log(run, workdir)
    log.parent.mkdir(parents=True, exist_ok=True)
    surroundings = {
        # The runs of an arm differ only in their seed, so they share compiled programs.
        "JAX_COMPILATION_CACHE_DIR": str((workdir / "compiled").absolute()),
        **os.environ,
        "PYTHONUNBUFFERED": "1",  # so that lines reach the log at once, and the reason of a failure comes last
        "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]),
    }
    with open(log, "ab") as file:
        process = subprocess.Popen(  # in a session of its own, so that Ctrl-C reaches it only through us
            _command(train, run, workdir),
            stdout=file,
            stderr=subprocess.STDOUT,
            env=surroundings,
            start_new_session=True,
        )
    if hasattr(os, "sched_setaffinity"):
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(process.pid, cores)
    return _Going(run, process, cores)


def cores() -> list[int]:
    """Return the cores that this process may use."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))


def shares(jobs: int) -> list[frozenset[int]]:
    """Divide the cores of this process equally among the jobs, so that times can be compared.

    If there are too few, jobs share.
    """
    every = cores()
    each = max(len(every) // jobs, 1)
    return [frozenset(every[job * each % len(every) :][:each]) for job in range(jobs)]


def _terminate(going: Sequence[_Going]) -> None:
    """Ask each run to save and end with code 0; a second call asks it to end at once."""
    for one in going:
        if one.process.poll() is None:
            one.process.send_signal(signal.SIGTERM)


@contextlib.contextmanager
def _terminated_on_exit(going: Sequence[_Going]) -> Iterator[None]:
    """Terminate the runs if anything goes wrong here, so that none is left behind."""
    try:
        yield
    finally:
        _terminate(going)


@contextlib.contextmanager
def _stop_requests() -> Iterator[list[int]]:
    """Collect SIGTERM and SIGINT inside this context."""
    stops: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        stops.append(number)
        acknowledge(f"{signal.Signals(number).name}: {AT_FIRST_SIGNAL if len(stops) == 1 else AT_SECOND_SIGNAL}")

    before = {number: signal.signal(number, stop) for number in _SIGNALS}
    try:
        yield stops
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def _told(one: _Going, workdir: Path) -> str:
    name = _name(one.run)
    if not one.run.finished(workdir):
        code = one.process.returncode
        stopped = code in (0, -signal.SIGTERM)  # it saved, or had nothing to save yet
        return f"{name}: stopped before its end" if stopped else f"{name}: failed with exit code {code}"
    summary = RunDirectory(one.run.directory(workdir)).summary()
    assert summary is not None  # the run is finished
    base, final, minutes = summary.base.pass_at_1.value, summary.final.pass_at_1.value, summary.total_seconds / 60
    return f"{name}: test pass@1 {known(base)} -> {known(final)} in {minutes:.1f} minutes"


def _nothing_to_compare(run: StudyRun, workdir: Path) -> str:
    """Return why a finished run is of no use to its study, or ""."""
    summary = RunDirectory(run.directory(workdir)).summary()
    if summary is None or summary.final.pass_at_1.known:
        return ""
    return f"its pass@1 is not known, so there is nothing to compare, and no other run is begun: {WITHOUT_VERDICTS}"


def _name(run: StudyRun) -> str:
    return f"{run.arm.name}, seed {run.seed}"


def _log(run: StudyRun, workdir: Path) -> Path:
    return workdir / "logs" / f"{run.arm.slug}.seed_{run.seed}.log"


def _last_line(path: Path) -> str:
    lines = path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else "no output"
