"""The interface through which a run shows its progress. `grpo_jax.terminal` implements it for terminals."""

from collections.abc import Callable, Mapping
from typing import Protocol


class Display(Protocol):
    """Shows progress."""

    def note(self, text: str) -> None:
        """Show a line that stays."""

    def doing(self, text: str) -> None:
        """Show what is being done, without a measure of progress, until the next call of `progress`."""

    def progress(self, phase: str, step: int, total: int, values: Mapping[str, float]) -> None:
        """Show how far a phase is, and its newest values, each under its template, as in {"loss {:.3f}": 0.5}."""


class Silent:
    """Shows nothing."""

    def note(self, text: str) -> None:
        pass

    def doing(self, text: str) -> None:
        pass

    def progress(self, phase: str, step: int, total: int, values: Mapping[str, float]) -> None:
        pass


class Noticed:
    """Passes everything on to another display, and calls a function whenever there is progress."""

    def __init__(self, display: Display, progressed: Callable[[], None]):
        """Make a display that calls `progressed` whenever something is shown."""
        self._display, self._progressed = display, progressed

    def note(self, text: str) -> None:
        self._progressed()
        self._display.note(text)

    def doing(self, text: str) -> None:
        self._progressed()
        self._display.doing(text)

    def progress(self, phase: str, step: int, total: int, values: Mapping[str, float]) -> None:
        self._progressed()
        self._display.progress(phase, step, total, values)
