"""SIGTERM and Ctrl-C as a request that the loop answers between two steps, after saving."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

from grpo_jax.processes import on_any_process
from grpo_jax.terminal import acknowledge


class StopRequest:
    """Within this context the first SIGTERM or Ctrl-C is only noted; a second one acts as usual, at once.

    A person is told so at once, whatever the loop is doing: who hears nothing presses again.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self, *, saving: str = "saving", losing: str = "what is not saved yet") -> None:
        """`saving`: what the first signal does; `losing`: what a second one costs. Both are parts of a sentence."""
        self.name = "stopped"  # or the signal that this process has got
        self._saving, self._losing = saving, losing
        self._received = False
        self._agreed = False
        self._previous: dict[signal.Signals, Any] = {}

    def requested(self) -> bool:
        """Whether any process of the run was asked to stop. All must ask at the same places: they stop together."""
        self._agreed = self._agreed or on_any_process(self._received)
        return self._agreed

    def __enter__(self) -> "StopRequest":
        if threading.current_thread() is threading.main_thread():  # elsewhere Python allows no handlers
            self._previous = {number: signal.signal(number, self._request) for number in self.SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()

    def _request(self, number: int, frame: FrameType | None) -> None:
        self.name, self._received = signal.Signals(number).name, True
        self._restore()
        acknowledge(f"{self.name}: {self._saving}. A second one ends it at once, and loses {self._losing}.")

    def _restore(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}
