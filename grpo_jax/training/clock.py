"""The clock: seconds by phase. Every moment of a run belongs to one phase, so the phases add up to the whole.

Devices go on computing after a dispatch has returned, and the next code that needs a result waits for it. Therefore the
loop waits for an update, in the update's phase, before it evaluates, writes metrics, saves or samples. This delays
nothing, because the host finishes its other work first. While host and devices work at the same time, seconds are
charged to the host's work: "update" is the remaining time of an update after the host has finished. So the split
between "update" and "host" means little, but their sum is right.
"""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import jax

from grpo_jax.runs.phases import PHASES, TOTAL, training_seconds, whole
from grpo_jax.runs.starts import process_age

_compile_seconds = 0.0


def _listen(event: str, duration_secs: float, **kwargs: str | int) -> None:
    global _compile_seconds
    # Tracing, lowering and compiling. Compilation in another thread does not delay this one.
    if event.startswith("/jax/core/compile/") and threading.current_thread() is threading.main_thread():
        _compile_seconds += duration_secs


jax.monitoring.register_event_duration_secs_listener(_listen)


class Clock:
    """Sums up seconds by phase, from its creation on. The seconds of an inner phase do not count for the outer one."""

    def __init__(self) -> None:
        self._seconds = dict.fromkeys(PHASES, 0.0)
        self._phase = "other"
        self._now, self._compiled = time.perf_counter(), _compile_seconds
        self.to_first_step: float | None = None  # seconds from the start of the process to the end of its first step

    def record_first_step(self) -> None:
        """Record the time at which the process finished its first step."""
        self.to_first_step = round(process_age(), 3)

    def continue_from(self, before: Mapping[str, float]) -> None:
        """Add the seconds of an earlier process of the same run, as `read` returned them."""
        for name, seconds in whole(before).items():
            if name != TOTAL:
                self._seconds[name] += seconds

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Charge the time in this context to a phase. A profiler's trace shows the phase under its name."""
        outer = self._phase
        self.turn_to(name)
        try:
            with jax.profiler.TraceAnnotation(name):
                yield
        finally:
            self.turn_to(outer)

    def turn_to(self, phase: str) -> None:
        """Charge the time from now on to a phase, except for the time in inner phases."""
        now, compiled = time.perf_counter(), _compile_seconds
        self._seconds["compile"] += compiled - self._compiled
        self._seconds[self._phase] += now - self._now - (compiled - self._compiled)
        self._now, self._compiled, self._phase = now, compiled, phase

    def training(self) -> float:
        """Return the seconds of training so far; see `training_seconds`."""
        self.turn_to(self._phase)
        return training_seconds(self._seconds)

    def read(self) -> dict[str, float]:
        """Return the seconds so far by phase, and `total`, which is their sum."""
        self.turn_to(self._phase)
        rounded = {name: round(seconds, 3) for name, seconds in self._seconds.items()}
        return {**rounded, TOTAL: round(sum(rounded.values()), 3)}
