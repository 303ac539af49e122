"""The interface of a tracker, and the table of those that have names."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

TENSORBOARD = "tensorboard"  # a run writes its events itself: they are a file in its directory, as the metrics are

# Where the class of each tracker is. A class is called with a `Begun`, in a process of its own, and returns a
# `Tracker`. Its module has the name of the package that it needs, which is also an extra of this package.
SERVICES = {
    "wandb": "grpo_jax.tracking.services.wandb:WandbTracker",
    "trackio": "grpo_jax.tracking.services.trackio:TrackioTracker",
    "mlflow": "grpo_jax.tracking.services.mlflow:MlflowTracker",
}


@dataclass(frozen=True)
class Begun:
    """The run that a tracker is to follow."""

    name: str
    folder: Path  # for the tracker's own files; it exists
    config: Mapping[str, Any]  # by the dotted names of fields
    id: str | None  # by which the tracker knows the run; None: the run is new to it


@dataclass(frozen=True)
class Entry:
    """The numbers of a line of metrics.jsonl."""

    place: int  # among all entries of the run, from 0, however often it was continued
    curve: str  # such as "train" or "evaluation_test": the names of all numbers begin with it
    step: int
    numbers: Mapping[str, float]  # all finite


class Pair(NamedTuple):
    """The completions with the highest and the lowest advantage of a group with signal."""

    step: int
    prompt: str
    gold: str
    better: str
    better_reward: float | None
    worse: str
    worse_reward: float | None


class Tracker(Protocol):
    """Follows one run. Any error of a method ends it."""

    id: str  # a continued run is begun with it; see `Begun`

    def log(self, entry: Entry) -> None:
        """Take the numbers of a step."""

    def pairs(self, step: int, rows: Sequence[Pair]) -> None:
        """Take a table of sampled pairs."""

    def end(self, summary: Mapping[str, float] | None) -> None:
        """End the tracker: save or send whatever it still holds.

        Args:
          summary: the numbers of the run's summary; None if it is not finished, and may be continued.
        """
