"""What the loop tells a person while it runs. `grpo_jax.reporting` shows it; tests and notebooks may ignore it."""

from collections.abc import Mapping
from typing import Protocol


class Display(Protocol):
    """Where progress is told."""

    def note(self, text: str) -> None:
        """One line that stays."""

    def doing(self, text: str) -> None:
        """What is being done from now on, until the next progress, where nobody knows how far it is."""

    def progress(self, phase: str, step: int, total: int, values: Mapping[str, float]) -> None:
        """How far a phase is, and its newest numbers, each by the template that shows it: {"loss {:.3f}": 0.5}."""


class Silent:
    """Shows nothing."""

    def note(self, text: str) -> None:
        pass

    def doing(self, text: str) -> None:
        pass

    def progress(self, phase: str, step: int, total: int, values: Mapping[str, float]) -> None:
        pass
