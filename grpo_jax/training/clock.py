"""Seconds by phase. Every moment of a run belongs to one phase, so the phases add up to the whole.

What is computed on devices runs on when its dispatch returns, and whoever next asks for a result waits for it. So the
loop waits for an update, in the update's phase, before it evaluates, writes metrics, saves or samples. That stalls
nothing: what the host has to do beside an update is done before it waits. Where host and devices work side by side the
seconds are of what the host does: "update" is what was left of an update when the host had nothing else to do, so the
border between "update" and "host" says little, and their sum is right.
"""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import jax

from grpo_jax.runs.phases import PHASES, TOTAL, training_seconds, whole

_compile_seconds = 0.0


def _listen(event: str, duration_secs: float, **kwargs: str | int) -> None:
    global _compile_seconds
    # Tracing, lowering, and the compiler itself. What another thread compiles delays nobody here.
    if event.startswith("/jax/core/compile/") and threading.current_thread() is threading.main_thread():
        _compile_seconds += duration_secs


jax.monitoring.register_event_duration_secs_listener(_listen)


class Clock:
    """Adds up where the time goes, from when it is made. A phase within another takes its seconds from it."""

    def __init__(self) -> None:
        self._seconds = dict.fromkeys(PHASES, 0.0)
        self._phase = "other"
        self._now, self._compiled = time.perf_counter(), _compile_seconds

    def continue_from(self, before: Mapping[str, float]) -> None:
        """Adds what an earlier process of the same run had on its clock; `before` is what `read` gave."""
        for name, seconds in whole(before).items():
            if name != TOTAL:
                self._seconds[name] += seconds

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Charges what happens within to this phase."""
        outer = self._phase
        self.turn_to(name)
        try:
            yield
        finally:
            self.turn_to(outer)

    def turn_to(self, phase: str) -> None:
        """Charges what follows, outside of the phases within it, to this phase."""
        now, compiled = time.perf_counter(), _compile_seconds
        self._seconds["compile"] += compiled - self._compiled
        self._seconds[self._phase] += now - self._now - (compiled - self._compiled)
        self._now, self._compiled, self._phase = now, compiled, phase

    def training(self) -> float:
        """Seconds of training so far: see `training_seconds`."""
        self.turn_to(self._phase)
        return training_seconds(self._seconds)

    def read(self) -> dict[str, float]:
        """Seconds so far, by phase, and `total`, which is their sum."""
        self.turn_to(self._phase)
        rounded = {name: round(seconds, 3) for name, seconds in self._seconds.items()}
        return {**rounded, TOTAL: round(sum(rounded.values()), 3)}
