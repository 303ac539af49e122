"""Follow a run's directory for a tracker, in a process of its own.

The process reads the lines that the run appends to metrics.jsonl. Its standard input comes from the run and ends with
it, even if the run is killed; then the process reads what is left and ends, too. tracking/NAME.json keeps how far the
tracker has got. So a run that is continued is the same run there, and steps that the run writes again are not logged
again.
"""

import contextlib
import dataclasses
import fcntl
import json
import os
import select
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from grpo_jax.config import imported
from grpo_jax.files import read_json, write_whole
from grpo_jax.json_record import JsonRecord, flat
from grpo_jax.runs.directory import METRICS_FILE, RunDirectory
from grpo_jax.runs.lines import EvaluationLine, curve, numbers
from grpo_jax.tracking.tracker import SERVICES, Begun, Entry, Pair, Tracker
from grpo_jax.tracking.trackers import FOLDER

LOOK_EVERY = 2.0  # seconds
PAIRS = 8  # in a table, all of the newest groups
SEARCHED = 256  # of the newest groups, for some that carry signal


@dataclass(frozen=True)
class Logged(JsonRecord):
    """The record of how much of a run a tracker has logged."""

    id: str | None = None
    entries: int = 0
    steps: Mapping[str, int] = dataclasses.field(default_factory=dict)  # the last one of each curve


def follow(name: str, workdir: Path, run: int) -> None:
    """Follow a run until it ends, and return when its tracker has everything.

    Args:
      run: a file descriptor that can be read as soon as the run has ended.
    """
    directory = RunDirectory(workdir)
    folder = workdir / FOLDER / name
    folder.mkdir(parents=True, exist_ok=True)
    record = workdir / FOLDER / f"{name}.json"
    (workdir / METRICS_FILE).touch()  # a run from a checkpoint writes its first line much later
    with _alone(folder / "lock"), open(workdir / METRICS_FILE, "rb") as lines:
        logged = Logged.from_json(read_json(record)) if record.exists() else Logged()
        begun = Begun(workdir.resolve().name, folder, flat(directory.config()), logged.id)
        tracker: Tracker = imported("logging.trackers", SERVICES.get(name, name))(begun)
        logged = dataclasses.replace(logged, id=tracker.id)
        ended = False
        while not ended:
            # Look for the end before the lines, so that none is missed that was written in between.
            ended = bool(select.select([run], [], [], LOOK_EVERY)[0])
            evaluated = None
            for entry in _new(_whole_lines(lines), logged):
                tracker.log(entry)
                steps = {**logged.steps, entry.curve: entry.step}
                logged = Logged(logged.id, entry.place + 1, steps)
                evaluated = entry.step if entry.curve.startswith(EvaluationLine.kind) else evaluated
            write_whole(record, json.dumps(logged.to_json()) + "\n")
            if evaluated is not None and (pairs := list(islice(_pairs(directory), PAIRS))):
                tracker.pairs(evaluated, pairs)
        summary = directory.summary()
        tracker.end(_numbers(flat(summary.to_json())) if summary else None)


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    return {name: value for name, value in values.items() if isinstance(value, int | float)}


@contextlib.contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Wait until no earlier process follows the run, such as one whose run was killed a moment ago."""
    with open(lock, "wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _whole_lines(file: Any) -> Iterator[dict[str, Any]]:
    """Yield the lines that a file has from here on. One that is still being written is left for the next time."""
    while (text := file.readline()).endswith(b"\n"):
        yield json.loads(text)
    file.seek(-len(text), os.SEEK_CUR)


def _new(lines: Iterator[dict[str, Any]], logged: Logged) -> Iterator[Entry]:
    """Yield the entries of the lines whose steps have not been logged."""
    place = logged.entries
    for line in lines:
        if line["step"] > logged.steps.get(curve(line), -1):
            yield Entry(place, curve(line), line["step"], numbers(line))
            place += 1


def _pairs(directory: RunDirectory) -> Iterator[Pair]:
    """Yield pairs of the newest groups that carry signal."""
    for group in islice(directory.newest_rollouts(), SEARCHED):
        if group.signal:
            better, worse = group.extremes
            yield Pair(group.step, group.prompt, group.gold, better.text, better.reward, worse.text, worse.reward)
