"""The interface through which a run shows its progress. `grpo_jax.terminal` implements it for terminals."""

from collections.abc import Mapping
from typing import Protocol


class Display(Protocol):
    """Shows progress."""

    def note(self, text: str) -> None:
        """Show a line that stays."""

    def doing(self, text: str) -> None:
        """Show what is being done until the next call of `progress`, without saying how far it is."""

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
