"""The terminal: a console that shows data as it is, and what a person sees while something goes on.

Names of directories, arms and suites, and whatever else a user or a model wrote, may hold what rich takes for markup
(`x[/b]`) or a terminal for a command. So this file alone makes consoles (tests/test_floors.py holds it).
"""

import contextlib
import math
import os
import time
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any

import rich.console
from rich.measure import Measurement
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn
from rich.table import Column
from rich.text import Text

STDERR = 2
WIDTH_ELSEWHERE = 120  # columns, where there is no terminal: in a pipe or a file

SECONDS_BETWEEN_LINES = 10.0  # where there is no terminal to draw a bar on
SMOOTHING = 0.9  # single steps are noisy; the bar shows a running mean, metrics.jsonl every step

# Characters that a terminal acts on, as Python writes them. New lines and tabs are layout.
CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}


CLEAR_LINE = "\r\x1b[2K"  # where a bar may stand


def acknowledge(sentence: str) -> None:
    """Writes a line to stderr from the handler of a signal, which may have interrupted anything, another print too."""
    clear = CLEAR_LINE if os.isatty(STDERR) else ""
    with contextlib.suppress(OSError):  # nobody may be there to read it
        os.write(STDERR, f"{clear}{sentence}\n".encode())


class PlainConsole(rich.console.Console):
    """A console of rich that prints texts as they are: no markup, no emoji codes, nothing that a terminal acts on."""

    def __init__(self, **settings: Any):
        super().__init__(markup=False, emoji=False, highlight=False, **settings)
        if "width" not in settings and not self.is_terminal:
            self.width = WIDTH_ELSEWHERE

    def render_str(self, text: str, **settings: Any) -> Text:
        """The text with its control characters made visible."""
        return super().render_str(text.translate(CONTROLS), **settings)

    def say(self, text: str) -> None:
        """Prints a line that is not broken anywhere, so that paths and commands in it can be copied."""
        self.print(text, soft_wrap=True)


class LiveDisplay:
    """A `grpo_jax.training.Display` for people: one line on a terminal, or a line now and then elsewhere.

    Use it as a context manager. Of several phases that take turns, as training and its evaluations, each goes on
    where it was.
    """

    def __init__(self, console: PlainConsole | None = None):
        self.console = console or PlainConsole()
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24 if self.console.width >= 100 else 8),
            _Steps(),
            TimeElapsedColumn(),
            _Left(),
            _Metrics(table_column=Column(ratio=1, no_wrap=True)),
            console=self.console,
            disable=not self.console.is_terminal,
            expand=True,
            transient=True,
        )
        self._phase = ""
        self._tasks: dict[str, Any] = {}
        self._smooth: dict[str, float] = {}
        self._last_line = 0.0

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
        self._show(text, None, 0)
        if not self.console.is_terminal:
            self.note(f"{text} ...")

    def progress(self, phase: str, step: int, total: int, values: Mapping[str, float]) -> None:
        self._show(phase, total, max(step - 1, 0))
        for template, value in values.items():
            if math.isfinite(value):  # a step without a verdict has no reward
                before = self._smooth.get(template, value)
                self._smooth[template] = SMOOTHING * before + (1 - SMOOTHING) * value
        metrics = [template.format(self._smooth.get(template, math.nan)) for template in values]
        self._bar.update(self._tasks[phase], completed=step, metrics=metrics)
        if not self.console.is_terminal and time.monotonic() - self._last_line > SECONDS_BETWEEN_LINES:
            self._last_line = time.monotonic()
            self.note("  ".join([f"{phase} {step}/{total}", *metrics]))

    def _show(self, phase: str, total: int | None, completed: int) -> None:
        """Makes this the phase that is shown. One that has ended is forgotten: another of its name begins anew."""
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

    def _ended(self, name: str) -> bool:
        task = next(task for task in self._bar.tasks if task.id == self._tasks[name])
        return task.total is None or task.finished


class _Steps(ProgressColumn):
    """So many of so many; nothing where nobody knows."""

    def render(self, task: Task) -> Text:
        return Text("" if task.total is None else f"{task.completed:.0f}/{task.total:.0f}", style="progress.download")


class _Left(ProgressColumn):
    """The time that is left, as far as the last steps tell."""

    max_refresh = 0.5

    def render(self, task: Task) -> Text:
        if task.total is None:
            return Text("")
        seconds = task.time_remaining
        if seconds is None:
            return Text("left -:--:--", style="progress.remaining")
        minutes, seconds = divmod(int(seconds), 60)
        hours, minutes = divmod(minutes, 60)
        return Text(f"left {hours}:{minutes:02}:{seconds:02}", style="progress.remaining")


class _Metrics(ProgressColumn):
    """As many metrics as there is room for beside the rest, whole."""

    def render(self, task: Task) -> "_AsManyAsFit":
        return _AsManyAsFit(task.fields["metrics"])


class _AsManyAsFit:
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
