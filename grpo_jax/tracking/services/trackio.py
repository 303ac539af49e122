"""Trackio. Its database is in the run's directory, unless the environment names another place (docs/tracking.md)."""

import os
import uuid
from collections.abc import Mapping, Sequence

from grpo_jax.tracking.tracker import Begun, Entry, Pair


class TrackioTracker:
    """A run of trackio, in the project TRACKIO_PROJECT. It knows runs by their names, so an id is part of the name."""

    def __init__(self, begun: Begun):
        """Begin the run, or continue it."""
        os.environ.setdefault("TRACKIO_DIR", str(begun.folder.resolve()))
        import trackio  # it reads the environment

        self.id = begun.id or f"{begun.name}-{uuid.uuid4().hex[:8]}"
        self._table = trackio.Table
        self._step = 0
        self._run = trackio.init(
            project=os.environ.get("TRACKIO_PROJECT", "grpo_jax"),
            name=self.id,
            resume="allow",
            config=dict(begun.config),
            embed=False,
            auto_log_gpu=False,
            auto_log_cpu=False,
        )

    def log(self, entry: Entry) -> None:
        self._step = entry.step
        self._run.log(dict(entry.numbers), step=entry.step)

    def pairs(self, step: int, rows: Sequence[Pair]) -> None:
        table = self._table(columns=list(Pair._fields), data=[list(row) for row in rows])
        self._run.log({"pairs": table}, step=step)

    def end(self, summary: Mapping[str, float] | None) -> None:
        if summary:
            self._run.log({f"summary/{name}": value for name, value in summary.items()}, step=self._step)
        self._run.finish()
