"""How far a run has come, read from small files and from the end of its metrics. Nothing here imports JAX."""

import enum
from dataclasses import dataclass

from grpo_jax.files import CONFIG_FILE
from grpo_jax.json_record import JsonRecord
from grpo_jax.runs.directory import RunDirectory
from grpo_jax.runs.lines import EvaluationLine, Share, TrainLine
from grpo_jax.runs.provenance import FINISHED, STOPPED, Start
from grpo_jax.runs.record import provenance_of

PACE_STEPS = 25  # single steps differ too much in how long they take


class Condition(enum.StrEnum):
    """Whether a run is going on, or how it ended."""

    NOT_BEGUN = "not begun"
    RUNNING = "running"
    STOPPED = "stopped"  # saved; the same command continues it
    FAILED = "failed"
    KILLED = "killed"  # its last start recorded no end; perhaps the machine went down
    FINISHED = "finished"
    DAMAGED = "damaged"  # a file cannot be read


@dataclass(frozen=True)
class Evaluated(JsonRecord):
    """A result of an evaluation."""

    split: str  # in lower case
    step: int
    pass_at_1: Share


@dataclass(frozen=True)
class State(JsonRecord):
    """How a run is doing."""

    condition: Condition
    said: str  # the same with its reason or its time, as a phrase
    step: int  # the newest that metrics.jsonl has
    steps: int  # that it is to take; 0 if that is not known
    starts: int  # how often it was started
    seconds_left: float | None  # of training, at the pace of the last steps; None unless it is running
    evaluated: Evaluated | None  # of a finished run the test at its end, else the newest evaluation
    written: float | None  # when it last wrote a line of its metrics, or else its configuration: seconds, UTC


def state_of(run: RunDirectory) -> State:
    """Return how a run is doing. There may be no run yet.

    Raises:
      ConfigError: if a file of it is damaged.
    """
    planned = run.read_record(
        CONFIG_FILE, lambda config: (int(config["train"]["steps"]), int(config["evaluation"]["every"]))
    )
    if planned is None:
        return State(Condition.NOT_BEGUN, Condition.NOT_BEGUN, 0, 0, 0, None, None, None)
    provenance = provenance_of(run)
    starts = provenance.starts if provenance else []
    running = run.locked  # asked once: the run may end meanwhile
    summary = None if running else run.summary()
    if summary is not None:
        steps = summary.steps or planned[0]
        evaluated = Evaluated("test", steps, summary.final.pass_at_1)
        return State(
            Condition.FINISHED, Condition.FINISHED, steps, steps, len(starts), None, evaluated, run.last_written
        )
    condition, said = (Condition.RUNNING, "running") if running else _ended(starts[-1] if starts else None)
    return _unfinished(run, *planned, condition, said, len(starts))


def damaged(error: Exception) -> State:
    """Return the state of a run whose files cannot be read, with what is wrong with them."""
    return State(Condition.DAMAGED, str(error), 0, 0, 0, None, None, None)


def _ended(last: Start | None) -> tuple[Condition, str]:
    """Return how a run without a summary ended: its condition, and the same as a phrase."""
    if last is None or last.outcome is None:
        return Condition.KILLED, "killed (no end was recorded)"
    if last.outcome == FINISHED:
        return Condition.KILLED, "killed before its summary was written; the same command writes it"
    condition = Condition.STOPPED if last.outcome == STOPPED else Condition.FAILED
    return condition, last.outcome + (f" ({last.ended})" if last.ended else "")


def _unfinished(run: RunDirectory, steps: int, every: int, condition: Condition, said: str, starts: int) -> State:
    newest: list[TrainLine] = []  # the last one first
    evaluated = None
    for looked_at, line in enumerate(run.newest_metrics()):
        if isinstance(line, TrainLine) and len(newest) <= PACE_STEPS:
            newest.append(line)
        elif isinstance(line, EvaluationLine) and evaluated is None:
            evaluated = Evaluated(line.split.lower(), line.step, line.scores.pass_at[0])
        if len(newest) > PACE_STEPS and (evaluated or looked_at > every + PACE_STEPS):
            break
    step = newest[0].step if newest else 0
    left = None
    if condition is Condition.RUNNING and len(newest) > 1:
        first, last = newest[-1], newest[0]
        left = round((last.seconds - first.seconds) / (last.step - first.step) * (steps - step), 1)
    return State(condition, said, step, steps, starts, left, evaluated, run.last_written)
