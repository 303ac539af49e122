"""How far a run has come, as pages say it."""

from dataclasses import dataclass

from grpo_jax.files import CONFIG_FILE
from grpo_jax.json_record import JsonRecord
from grpo_jax.runs.directory import RunDirectory
from grpo_jax.runs.record import provenance_of

# How a run without a summary ended, by the outcome of its last start.
ENDINGS = {
    None: "it ended for an unknown reason",
    "stopped": "it was stopped",
    "finished": "its summary was not written; the same command writes it",
}


@dataclass(frozen=True)
class State(JsonRecord):
    """How a run is doing."""

    begun: bool  # whether there is a run yet
    running: bool
    said: str  # the same as a phrase
    steps: int  # that it is to take; 0 if that is not known yet
    starts: int  # how often it was started


def state_of(run: RunDirectory) -> State:
    """Return how a run is doing. There may be no run yet.

    Raises:
      ConfigError: if a file of it is damaged.
    """
    if not (run.path / CONFIG_FILE).is_file():
        return State(False, False, "it has not begun", 0, 0)
    provenance = provenance_of(run)
    starts = provenance.starts if provenance else []
    steps = run.config()["train"]["steps"]
    if run.locked:
        return State(True, True, "it is running", steps, len(starts))
    if run.summary() is not None:
        return State(True, False, "it is finished", steps, len(starts))
    last = starts[-1] if starts else None
    outcome = last.outcome if last else None
    said = ENDINGS.get(outcome, f"it {outcome}") + (f" ({last.ended})" if last and last.ended else "")
    return State(True, False, said, steps, len(starts))
