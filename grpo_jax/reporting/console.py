"""The terminal: a live bar while a run goes on, and a table at its end."""

import math
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import rich.console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

# metric -> how it is shown
SHOWN = {
    "loss": "loss {:.3f}",
    "reward": "reward {:.2f}",
    "valid_pair_share": "valid {:.2f}",
    "completion_length": "length {:.1f}",
    "tokens_per_second": "{:,.0f} tokens/s",
}
IN_PHASE = {  # others show how far they are, and no metric
    "warm start": ("loss",),
    "training": ("reward", "valid_pair_share", "completion_length", "tokens_per_second"),
}

SECONDS_BETWEEN_LINES = 10.0  # where there is no terminal to draw a bar on
SMOOTHING = 0.9  # single steps are noisy; the bar shows a running mean, metrics.jsonl every step


class Console:
    """A `grpo_jax.training.Display` for people. Use it as a context manager."""

    def __init__(self, console: rich.console.Console | None = None):
        self._console = console or rich.console.Console()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[metrics]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._phase = ""
        self._task: Any = None
        self._smooth: dict[str, float] = {}
        self._last_line = 0.0

    def __enter__(self) -> "Console":
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def note(self, text: str) -> None:
        self._console.print(text, highlight=False, soft_wrap=True)

    def progress(self, phase: str, step: int, total: int, values: Mapping[str, float]) -> None:
        if phase != self._phase:
            self._phase, self._smooth = phase, {}
            self._task = self._bar.add_task(phase, total=total, completed=step - 1, metrics="")
        for name in IN_PHASE.get(phase, ()):
            if math.isfinite(values[name]):  # a step without a verdict has no reward
                before = self._smooth.get(name, values[name])
                self._smooth[name] = SMOOTHING * before + (1 - SMOOTHING) * values[name]
        metrics = "  ".join(SHOWN[name].format(self._smooth.get(name, math.nan)) for name in IN_PHASE.get(phase, ()))
        self._bar.update(self._task, completed=step, metrics=metrics)
        if not self._console.is_terminal and time.monotonic() - self._last_line > SECONDS_BETWEEN_LINES:
            self._last_line = time.monotonic()
            self.note(f"{phase} {step}/{total}  {metrics}")

    def show(self, summary: Mapping[str, Any], workdir: Path) -> None:
        """The table at the end of a run."""
        base, final, seconds = summary["base"], summary["final"], summary["seconds"]
        table = Table(title=f"{final['problems']} test problems, {final['k']} samples each")
        for column in ("", "pass@1", "95 % interval", f"pass@{final['k']}", f"maj@{final['k']}", "tokens"):
            table.add_column(column, justify="left" if not column else "right")
        for name, result in (("before RL", base), ("after RL", final)):
            low, high = result["interval"]["pass@1"]
            table.add_row(
                name,
                f"{result['pass@1']:.3f}",
                f"{low:.3f} - {high:.3f}",
                f"{result['pass@k']:.3f}",
                f"{result['maj@k']:.3f}",
                f"{result['mean_length']:.1f}",
            )
        self._console.print(table)
        self.note(
            f"{summary['rollouts']:,} rollouts of {summary['prompts']:,} prompts, {summary['updates']:,} updates, "
            f"{summary['valid_pair_share']:.1%} of the groups carried signal\n"
            + ", ".join(f"{name.replace('_', ' ')} {value:.1f} s" for name, value in seconds.items())
            + f"\nreport: {workdir / 'report.html'}"
        )
