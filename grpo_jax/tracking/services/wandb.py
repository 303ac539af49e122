"""Weights & Biases. A run is kept in the run's directory until `wandb sync`, unless WANDB_MODE says otherwise."""

import os
import uuid
from collections.abc import Mapping, Sequence

os.environ.setdefault("WANDB_MODE", "offline")
import wandb  # it reads the environment

from grpo_jax.tracking.tracker import Begun, Entry, Pair


class WandbTracker:
    """A run of Weights & Biases, in the project WANDB_PROJECT."""

    def __init__(self, begun: Begun):
        """Begin the run, or continue it: parts with the same id are one run."""
        self.id = begun.id or uuid.uuid4().hex[:8]
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "grpo_jax"),
            name=begun.name,
            id=self.id,
            resume="allow",
            dir=str(begun.folder),
            config=dict(begun.config),
            settings=wandb.Settings(console="off", disable_code=True, x_disable_stats=True),
        )
        self._place = 0
        self._curves: set[str] = set()

    def log(self, entry: Entry) -> None:
        if entry.curve not in self._curves:  # each stage of a run counts its own steps
            self._run.define_metric(f"{entry.curve}/*", step_metric=f"{entry.curve}/step")
            self._curves.add(entry.curve)
        self._place = entry.place
        self._run.log({**entry.numbers, f"{entry.curve}/step": entry.step}, step=entry.place)

    def pairs(self, step: int, rows: Sequence[Pair]) -> None:
        table = wandb.Table(columns=list(Pair._fields), data=[list(row) for row in rows])
        self._run.log({"pairs": table}, step=self._place)

    def end(self, summary: Mapping[str, float] | None) -> None:
        self._run.summary.update(dict(summary or {}))
        self._run.finish(exit_code=0 if summary else 1)
