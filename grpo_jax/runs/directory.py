"""The run directory: the files that a run writes, and how it is taken back to a checkpoint.

docs/runs.md lists all files, with the modules that write them and those that know their formats.
"""

import errno
import fcntl
import json
import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from itertools import takewhile
from pathlib import Path
from typing import IO, Any, TypeVar

from grpo_jax.config import ConfigError
from grpo_jax.files import CONFIG_FILE, SUMMARY_FILE, read_json, run_config, write_whole
from grpo_jax.json_record import plain
from grpo_jax.runs.events import Events
from grpo_jax.runs.groups import JudgedGroup, TrainingGroup
from grpo_jax.runs.lines import EvaluationLine, Line, RunMetrics, Stage, TrainLine, numbers, read_line
from grpo_jax.runs.provenance import PROVENANCE_FILE
from grpo_jax.runs.suite_scores import SUITES_FILE, SuiteReport
from grpo_jax.runs.summary import Summary

Group = TypeVar("Group", bound=JudgedGroup)
Record = TypeVar("Record")

logger = logging.getLogger(__name__)

FOLDERS = ("rollouts", "evaluation", "warm_start")  # of a training run
FROM_THE_START = (CONFIG_FILE, PROVENANCE_FILE, "lock")  # written before anything is computed
BASE_POLICY = Path("warm_start", "params.safetensors")  # made by the warm start
METRICS_FILE = "metrics.jsonl"
STEPS_PER_ROLLOUT_FILE = 100
NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)  # errors of a file system that cannot lock
BLOCK = 1 << 20  # bytes that are read at once from the end of a file


class RunDirectory:
    """Reads and appends to the files of a run.

    It uses no devices, so a process that only reads takes none from the run. Between `create` and `close` the directory
    is locked against other runs. If the process is killed, the system releases the lock.
    """

    def __init__(self, path: Path, *, writes: bool = True, tensorboard: bool = False):
        """Make one for a path. Without `writes` nothing is written: on several hosts, only the first one writes."""
        self.path = path
        self.writes = writes
        self._tensorboard = tensorboard and writes
        self._events: dict[Stage, Events] = {}
        self._lock: IO[bytes] | None = None
        self._unsynced: set[str] = set()

    def create(self, folders: Sequence[str] = FOLDERS) -> None:
        """Make the directory with these folders, and lock it. Raise ConfigError if that is not possible."""
        if not self.writes:
            return
        try:
            for name in ("", *folders):
                (self.path / name).mkdir(parents=True, exist_ok=True)
            if (self.path / "checkpoints").is_file():  # which Orbax makes, hours later
                raise FileExistsError(errno.EEXIST, "", str(self.path / "checkpoints"))
            self._lock = open(self.path / "lock", "wb")  # noqa: SIM115 - open until the run ends
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self.close()
            raise ConfigError(
                f"--workdir={self.path}: another process is running in it; wait for it, or name another directory."
            ) from error
        except OSError as error:
            self.close()
            if error.errno in NO_LOCKS:
                raise ConfigError(
                    f"--workdir={self.path}: is on a file system without locks, so nothing would keep a second process "
                    "out; mount it with locks (Lustre: -o flock), or name a directory on another."
                ) from error
            if not isinstance(error, FileExistsError):
                raise ConfigError(
                    f"--workdir={self.path}: cannot be written to ({error.strerror}); name one that you may write to."
                ) from error
            raise ConfigError(f"--workdir={self.path}: {error.filename} is no directory; name a new one.") from error

    @property
    def untouched(self) -> bool:
        """Whether nothing was computed here, as when the model could not be read. Then another run may take it over."""
        files = (path for path in self.path.rglob("*") if path.is_file())
        return all(path.parent == self.path and path.name in FROM_THE_START for path in files)

    def read_json(self, name: str) -> dict[str, Any] | None:
        """Return the content of a JSON file, or None if there is none. Raise ConfigError if it is damaged."""
        path = self.path / name
        return read_json(path) if path.exists() else None

    def config(self) -> dict[str, Any]:
        """Return config.json. Raise FileNotFoundError if there is none."""
        return run_config(self.path)

    def summary(self) -> Summary | None:
        """Return the summary, or None if the run is not finished. Raise ConfigError if summary.json is damaged."""
        return self.read_record(SUMMARY_FILE, Summary.from_json)

    def write_summary(self, summary: Summary) -> None:
        """Write summary.json."""
        self.write_json(SUMMARY_FILE, summary.to_json())

    def finished(self) -> tuple[dict[str, Any], Summary]:
        """Return config.json and the summary. Raise FileNotFoundError if it is not a run, or not finished."""
        config, summary = self.config(), self.summary()
        if summary is None:
            raise FileNotFoundError(f"{self.path}: has no summary.json; finish the run first")
        return config, summary

    def suite_report(self) -> SuiteReport | None:
        """Return the report in suites.json, or None if there is none. Raise ConfigError if it is damaged."""
        return self.read_record(SUITES_FILE, SuiteReport.from_json)

    def write_suite_report(self, report: SuiteReport) -> None:
        """Write suites.json."""
        self.write_json(SUITES_FILE, report.to_json())

    def move(self, name: str, to: str) -> None:
        """Rename a file, if it exists."""
        if self.writes and (self.path / name).exists():
            (self.path / name).rename(self.path / to)

    @property
    def locked(self) -> bool:
        """Whether a process has locked the directory."""
        try:
            with open(self.path / "lock", "rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:  # there is no such file, or this file system has no locks
            return False
        return False

    def write_json(self, name: str, values: Mapping[str, Any]) -> None:
        self.write_text(name, json.dumps(values, indent=2) + "\n")

    def write_text(self, name: str, text: str) -> None:
        """Write a file atomically."""
        if self.writes:
            write_whole(self.path / name, text)

    def write_lines(self, name: str, records: Iterable[Mapping[str, Any]]) -> None:
        self.write_text(name, "".join(_line(record) for record in records))

    def append_metrics(self, line: Line) -> None:
        """Append a line to metrics.jsonl, and write its numbers as TensorBoard events."""
        values = line.to_json()
        self._append(METRICS_FILE, [values])
        if self._tensorboard:
            if line.stage not in self._events:
                folder = self.path / "tensorboard" / line.stage
                self._events[line.stage] = Events(folder, first_step=line.step)
            self._events[line.stage].add(line.step, numbers(values))

    def close(self) -> None:
        """Close the event files, and release the lock. Closing twice is no error.

        Raises:
          OSError: if events cannot be written; the lock is released nevertheless.
        """
        with ExitStack() as stack:
            if self._lock is not None:
                stack.callback(self._lock.close)
            for events in self._events.values():
                stack.callback(events.close)
            self._lock, self._events = None, {}

    def append_rollouts(self, step: int, groups: Iterable[TrainingGroup]) -> None:
        """Append the groups of a step to its file in rollouts/."""
        self._append(rollout_file(step), ({"phase": Stage.TRAIN.value, **group.to_json()} for group in groups))

    def write_evaluation(self, name: str, groups: Iterable[JudgedGroup]) -> None:
        """Write the groups of an evaluation to evaluation/NAME.jsonl."""
        self.write_lines(f"evaluation/{name}.jsonl", [group.to_json() for group in groups])
        self._unsynced.add(f"evaluation/{name}.jsonl")

    def sync(self) -> None:
        """Wait until all metrics, rollouts and evaluations are on the disk.

        A checkpoint may be on the disk before the lines of its steps. If the machine then lost its power, the run would
        continue without them.
        """
        for name in sorted(self._unsynced) if self.writes else ():
            with suppress(FileNotFoundError), open(self.path / name, "rb") as file:  # it may have been moved elsewhere
                os.fsync(file.fileno())
        self._unsynced.clear()

    def metrics(self) -> RunMetrics:
        """Return the lines of metrics.jsonl, without a last one that a killed process left incomplete.

        Raises:
          ConfigError: if another line is damaged.
        """
        path = self.path / METRICS_FILE
        with _reading(path):
            return RunMetrics.from_json(_lines(path))

    def newest_metrics(self) -> Iterator[TrainLine | EvaluationLine]:
        """Yield the same lines, the last one first, reading the file from its end. Raise as `metrics` does."""
        path = self.path / METRICS_FILE
        with _reading(path):
            yield from filter(None, (read_line(json.loads(text)) for _, text in _from_end(path)))

    @property
    def last_written(self) -> float | None:
        """The time of the run's last line of metrics, or else of its configuration, in seconds, UTC; None if never."""
        files = (self.path / name for name in (METRICS_FILE, CONFIG_FILE))
        return next((path.stat().st_mtime for path in files if path.exists()), None)

    def rollouts(self, step: int | None = None) -> Iterator[TrainingGroup]:
        """Yield all groups that were written, in the order of their steps; with `step`, only those of its file.

        Raises:
          ConfigError: if a line is damaged, or of a newer version. A last line that a killed process left incomplete is
            skipped.
        """
        for path in self._rollout_files() if step is None else [self.path / rollout_file(step)]:
            yield from _read_groups(path, TrainingGroup)

    def newest_rollouts(self) -> Iterator[TrainingGroup]:
        """Yield all groups, the newest first, reading files from their ends. Raise as `rollouts` does."""
        for path in reversed(self._rollout_files()):
            with _reading(path):
                yield from (TrainingGroup.from_json(json.loads(text)) for _, text in _from_end(path))

    def evaluation(self, name: str) -> Iterator[JudgedGroup]:
        """Return the groups of evaluation/NAME.jsonl. Raise ConfigError as `rollouts` does."""
        return _read_groups(self.path / "evaluation" / f"{name}.jsonl", JudgedGroup)

    def rewind(self, stage: Stage, step: int) -> None:
        """Remove the lines of later steps of a stage. The run will compute and write them again.

        A stage writes its steps in order. So files are read from their ends, the newest first, and the run's age does
        not matter. If lines of earlier steps are missing at the end of metrics.jsonl, they are lost: this is logged.
        """
        if not self.writes:
            return
        newest = _cut(self.path / METRICS_FILE, stage, step) or 0
        if newest < step:
            logger.warning(
                "%s: has no lines of the steps from %d to %d, and they are not computed again; restore the file if you "
                "can, because curves and sums of tokens lack them",
                self.path / METRICS_FILE,
                newest + 1,
                step,
            )
        for path in reversed(self._rollout_files() if stage is Stage.TRAIN else []):
            if _cut(path, stage, step) is not None:
                return

    def evaluated(self, step: int) -> dict[str, float | None]:
        """Return pass@1 of each split evaluated at the step to which the run was taken back; None if not known."""
        path = self.path / METRICS_FILE
        with _reading(path):
            lines = (json.loads(text) for _, text in _from_end(path))
            newest = takewhile(lambda line: line["step"] == step or line["phase"] != Stage.TRAIN, lines)
            found = {line.split: line.scores.pass_at[0] for line in RunMetrics.from_json(newest).evaluations}
        return {split: share.value if share.known else None for split, share in found.items()}

    def _rollout_files(self) -> list[Path]:
        """Return the files in rollouts/ in the order of their steps."""
        files = (path for path in (self.path / "rollouts").glob("*.jsonl") if path.stem.isdecimal())
        return sorted(files, key=lambda path: int(path.stem))

    def read_record(self, name: str, from_json: Callable[[Mapping[str, Any]], Record]) -> Record | None:
        """Return the record in a JSON file, or None if there is no file. Raise ConfigError if it is damaged."""
        values = self.read_json(name)
        try:
            return None if values is None else from_json(values)
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(f"{self.path / name}: is damaged ({error!r}); restore the file.") from error

    def _append(self, name: str, records: Iterable[Mapping[str, Any]]) -> None:
        if self.writes:
            with open(self.path / name, "a", encoding="utf-8") as file:
                file.write("".join(_line(record) for record in records))
            self._unsynced.add(name)


def runs_below(directory: Path) -> Iterator[Path]:
    """Yield the directories of all training runs at or below a directory. Hidden directories are left out."""
    try:
        names = [entry.name for entry in os.scandir(directory) if entry.is_dir(follow_symlinks=False)]
    except OSError:  # it may not be read, or was removed a moment ago
        return
    if FOLDERS[0] in names and (directory / CONFIG_FILE).is_file():  # models have a config.json, too
        yield directory
        return
    for name in sorted(names, key=_by_numbers):
        if not name.startswith("."):
            yield from runs_below(directory / name)


def kept_steps(directory: Path) -> list[int]:
    """Return the steps of the checkpoints in a directory, in order; none if there is no directory."""
    names = (path.name for path in directory.iterdir()) if directory.is_dir() else ()
    return sorted(int(name) for name in names if name.isdigit())  # other names are unfinished checkpoints


def check_kept(workdir: Path, step: int | None) -> None:
    """Check that a run has kept the checkpoint of a step, or any checkpoint if it is None.

    Step 0 is the base policy, which is always kept.

    Raises:
      FileNotFoundError: if it has not kept it.
    """
    saved = workdir / "checkpoints"
    if step != 0 and not saved.is_dir():
        raise FileNotFoundError(f"{workdir}: has no checkpoint yet; continue the run until it has one")
    if step and step not in kept_steps(saved):
        there = ", ".join(map(str, kept_steps(saved))) or "none"
        raise FileNotFoundError(f"{saved}: holds no checkpoint of step {step}; there are {there}")


def rollout_file(step: int) -> str:
    """Return the name of the file with the rollouts of a step."""
    first = (step - 1) // STEPS_PER_ROLLOUT_FILE * STEPS_PER_ROLLOUT_FILE + 1
    return f"rollouts/{first:06d}.jsonl"


def _by_numbers(name: str) -> list[tuple[str, int]]:
    """Return a key that sorts seed_2 before seed_10."""
    return [(text, int(number or 0)) for text, number in re.findall(r"(\D*)(\d*)", name)]


def _line(record: Mapping[str, Any]) -> str:
    try:
        return json.dumps(record, allow_nan=False) + "\n"
    except ValueError:  # a number is not finite, which is rare: to look for it each time would take longer
        return json.dumps(plain(record), allow_nan=False) + "\n"


def _read_groups(path: Path, kind: type[Group]) -> Iterator[Group]:
    with _reading(path):
        yield from map(kind.from_json, _lines(path))


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Name the file in errors about its lines."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{path}: a line is damaged ({error!r}); restore the file.") from error


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the lines of a file as JSON objects, but no incomplete last one. Raise ValueError if one is not JSON."""
    if path.exists():
        with open(path, encoding="utf-8", newline="\n") as file:
            yield from (json.loads(text) for text in file if text.endswith("\n"))


def _from_end(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield the lines of a file with their places, the last one first, without an incomplete last one."""
    if not path.exists():
        return
    with open(path, "rb") as file:
        start, text = file.seek(0, os.SEEK_END), b""
        while start:
            size = min(BLOCK, start)
            start = file.seek(start - size)
            text = file.read(size) + text
            end = text.rfind(b"\n") + 1
            while (begin := text.rfind(b"\n", 0, max(end - 1, 0)) + 1) or (end and not start):
                yield start + begin, text[begin:end]
                end = begin
            text = text[:end]  # the end of a line that begins earlier


def _cut(path: Path, stage: Stage, step: int) -> int | None:
    """Cut off the lines of later steps of a stage from the end of a file. Return the newest step that is left."""
    newest: int | None = None
    keep, of_others = 0, []
    with _reading(path):
        for begin, text in _from_end(path):
            line = json.loads(text)
            if line["phase"] != stage:
                of_others.append(text)
            elif line["step"] <= step:
                keep, newest = begin + len(text), line["step"]
                break
    if of_others:  # of the warm start, which is short
        write_whole(path, (path.read_bytes()[:keep] + b"".join(reversed(of_others))).decode("utf-8"))
    elif keep:
        os.truncate(path, keep)
    else:
        path.unlink(missing_ok=True)
    return newest
