"""The terminal: a console that prints data unchanged, and the display of progress.

A bar is drawn only where a line can be drawn again: on a terminal, unless it is a dumb one or the log of a continuous
integration, which some services give a terminal. Pipes, files and those get whole lines.

Names of directories, arms and suites, and all text that a user or a model wrote, may contain markup of rich (`x[/b]`)
or control sequences of the terminal. So only this file creates consoles (tests/test_floors.py checks it).
"""

import contextlib
import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any

import rich.console
from rich.cells import cell_len
from rich.measure import Measurement
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn
from rich.table import Column
from rich.text import Text

STDERR = 2
WIDTH_ELSEWHERE = 120  # columns, where there is no terminal: in a pipe or a file

# Where no bar is drawn, a line comes every ten seconds at first, and less and less often as the run goes on.
SECONDS_BETWEEN_LINES, SHARE_BETWEEN_LINES, MOST_BETWEEN_LINES = 10.0, 1 / 30, 600.0
SMOOTHING = 0.9  # single steps are noisy: the bar shows a running mean, metrics.jsonl has every step

# Control characters, and how Python writes them. New lines and tabs are layout.
CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}


CLEAR_LINE = "\r\x1b[2K"  # of a bar

LEVELS = "▁▂▃▄▅▆▇█"  # of a sparkline
NARROW = 50  # columns, below which there is no room for the bar itself
CURVE = 12  # characters of the one beside the bar


def can_redraw(*, terminal: bool) -> bool:
    """Return whether a line of the output can be redrawn.

    Args:
      terminal: whether the output goes to a terminal.
    """
    dumb = os.environ.get("TERM", "").lower() in ("dumb", "unknown")
    return terminal and not dumb and os.environ.get("CI", "").lower() in ("", "0", "false")


def acknowledge(sentence: str) -> None:
    """Write a line to stderr. Safe in the handler of a signal, which may have interrupted another print."""
    clear = CLEAR_LINE if can_redraw(terminal=os.isatty(STDERR)) else ""
    with contextlib.suppress(OSError):  # stderr may be closed
        os.write(STDERR, f"{clear}{sentence}\n".encode())


class PlainConsole(rich.console.Console):
    """A console of rich that prints texts unchanged: no markup, no emoji codes, and control characters escaped."""

    def __init__(self, **settings: Any):
        super().__init__(markup=False, emoji=False, highlight=False, **settings)
        terminal = bool(settings.get("force_terminal")) or self.file.isatty()  # FORCE_COLOR does not make a pipe one
        self.is_interactive = self.is_interactive and can_redraw(terminal=terminal)
        if "width" not in settings and not terminal:
            self.width = WIDTH_ELSEWHERE

    def render_str(self, text: str, **settings: Any) -> Text:
        """Return the text with its control characters made visible."""
        return super().render_str(text.translate(CONTROLS), **settings)

    @property
    def shows_curves(self) -> bool:
        """Whether the characters of a sparkline can be written."""
        return self.encoding.startswith("utf")

    def say(self, text: str) -> None:
        """Print a line without line breaks, so that its paths and commands can be copied."""
        self.print(text, soft_wrap=True)


def columns(rows: Sequence[Sequence[str]], *, right: Sequence[str] = (), widest: int = 48) -> list[str]:
    """Return rows of cells as lines in aligned columns. The first row is the header.

    Args:
      right: the headers of columns that are aligned to the right.
      widest: longer cells push what follows them out of line, instead of making their column wider. The last column
        has any width.
    """
    widths = [
        max((width for width in map(cell_len, cells) if width <= widest), default=0)
        for cells in zip(*rows, strict=True)
    ]
    lines = []
    for row in rows:
        padded = []
        for cell, name, width in zip(row, rows[0], widths, strict=True):
            blanks = " " * (width - cell_len(cell))
            padded.append(blanks + cell if name in right else cell + blanks)
        lines.append("  ".join(padded).rstrip())
    return lines


def duration(seconds: float) -> str:
    """Return a duration in its two largest units, as in 2 h 5 min; below a minute in seconds."""
    whole = max(round(seconds), 0)
    for unit, size, smaller, part in (("d", 86400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1)):
        if whole >= size:
            return f"{whole // size} {unit} {whole % size // part} {smaller}"
    return f"{whole} s"


def sparkline(values: Sequence[float], width: int) -> str:
    """Return a curve of at most `width` characters, from the lowest to the highest of the shown values; "" for none.

    Values that are not finite are left out.
    """
    values = [value for value in values if math.isfinite(value)]
    size = min(len(values), width)
    shown = [values[round(place * (len(values) - 1) / max(size - 1, 1))] for place in range(size)]
    low, high = min(shown, default=0.0), max(shown, default=0.0)
    return "".join(LEVELS[round((len(LEVELS) - 1) * (value - low) / ((high - low) or 1))] for value in shown)


class LiveDisplay:
    """A `grpo_jax.training.Display` for people: a bar where one can be drawn, and now and then a line elsewhere.

    Use it as a context manager. If phases alternate, such as training and evaluations, each continues where it was.
    """

    def __init__(self, console: PlainConsole | None = None):
        self.console = console or PlainConsole()
        wide = self.console.width >= NARROW
        bar = (BarColumn(bar_width=24 if self.console.width >= 100 else 8),) if wide else ()
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            *bar,
            _Steps(table_column=Column(no_wrap=True)),
            *((TimeElapsedColumn(),) if wide else ()),
            _Left(table_column=Column(no_wrap=True)),
            _Metrics(table_column=Column(ratio=1, no_wrap=True)),
            console=self.console,
            disable=not self.console.is_interactive,
            expand=True,
            transient=True,
        )
        self._phase = ""
        self._tasks: dict[str, Any] = {}
        self._smooth: dict[str, list[float]] = {}  # of all steps
        self._begun = time.monotonic()
        self._last_line = -math.inf

    def __enter__(self) -> "LiveDisplay":
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def note(self, text: str) -> None:
        self.console.say(text)

    def doing(self, text: str) -> None:
        """Show what is being done, without a bar."""
        self._show(text, None, 0)
        if not self.console.is_interactive:
            self.note(f"{text} ...")

    def progress(self, phase: str, step: int, total: int, values: Mapping[str, float]) -> None:
        """Move the bar of a phase with its values, smoothed, and the curve of the first; or print a line at times."""
        self._show(phase, total, max(step - 1, 0))
        for template, value in values.items():
            if math.isfinite(value):  # a step without verdicts has no reward
                before = self._smooth.get(template, [value])[-1]
                self._smooth.setdefault(template, []).append(SMOOTHING * before + (1 - SMOOTHING) * value)
        metrics = [template.format(self._smooth.get(template, [math.nan])[-1]) for template in values]
        curve = [sparkline(self._smooth.get(template, []), CURVE) for template in [*values][:1]]
        shown = metrics[:1] + (curve if self.console.shows_curves else []) + metrics[1:]
        self._bar.update(self._tasks[phase], completed=step, metrics=shown)
        left = self._task(phase).time_remaining
        self._show_unfinished()
        if not self.console.is_interactive and self._line_is_due():
            self._last_line = time.monotonic()
            steps = f"{phase} {step}/{total}" + (f", {duration(left)} left" if left else "")
            self.note("  ".join([steps, *metrics]))

    def _line_is_due(self) -> bool:
        now = time.monotonic()
        seldom = min(SHARE_BETWEEN_LINES * (now - self._begun), MOST_BETWEEN_LINES)
        return now - self._last_line > max(SECONDS_BETWEEN_LINES, seldom)

    def _show(self, phase: str, total: int | None, completed: int) -> None:
        """Show this phase. Finished phases are forgotten, so another one of the same name begins anew."""
        if phase == self._phase:
            return
        if self._phase:
            self._bar.update(self._tasks[self._phase], visible=False)
        for name in filter(self._ended, list(self._tasks)):
            self._bar.remove_task(self._tasks.pop(name))
        if phase not in self._tasks:
            self._tasks[phase] = self._bar.add_task(phase, total=total, completed=completed, metrics=[])
        self._bar.update(self._tasks[phase], visible=True)
        self._phase = phase

    def _show_unfinished(self) -> None:
        """Show the phase that an ended phase interrupted. Otherwise an evaluation's bar would stay full for a step."""
        if self._ended(self._phase):
            interrupted = [name for name in self._tasks if not self._ended(name)]
            if interrupted:
                self._show(interrupted[-1], None, 0)

    def _ended(self, name: str) -> bool:
        task = self._task(name)
        return task.total is None or task.finished

    def _task(self, name: str) -> Task:
        return next(task for task in self._bar.tasks if task.id == self._tasks[name])


class _Steps(ProgressColumn):
    """The number of finished steps, and of all; empty if the total is unknown."""

    def render(self, task: Task) -> Text:
        return Text("" if task.total is None else f"{task.completed:.0f}/{task.total:.0f}", style="progress.download")


class _Left(ProgressColumn):
    """The remaining time, estimated from the last steps."""

    max_refresh = 0.5

    def render(self, task: Task) -> Text:
        """Return the remaining time as text, "" if the number of steps is unknown."""
        if task.total is None:
            return Text("")
        seconds = task.time_remaining
        if seconds is None:
            return Text("left -:--:--", style="progress.remaining")
        minutes, seconds = divmod(int(seconds), 60)
        hours, minutes = divmod(minutes, 60)
        return Text(f"left {hours}:{minutes:02}:{seconds:02}", style="progress.remaining")


class _Metrics(ProgressColumn):
    """As many whole metrics as fit beside the other columns."""

    def render(self, task: Task) -> "_FittingParts":
        return _FittingParts(task.fields["metrics"])


class _FittingParts:
    def __init__(self, parts: list[str]):
        self._parts = parts

    def __rich_console__(self, console: rich.console.Console, options: rich.console.ConsoleOptions) -> Iterator[Text]:
        shown = ""
        for part in self._parts:
            longer = f"{shown}  {part}" if shown else part
            if len(longer) > options.max_width:
                break
            shown = longer
        yield Text(shown, no_wrap=True)

    def __rich_measure__(self, console: rich.console.Console, options: rich.console.ConsoleOptions) -> Measurement:
        return Measurement(0, len("  ".join(self._parts)))
