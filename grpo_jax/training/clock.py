"""Seconds by phase, with the time that XLA spends compiling told apart."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import jax

PHASES = ("warm_start", "sampling", "rewards", "update", "evaluation", "compile", "total")
TRAINING = ("sampling", "rewards", "update")  # the training proper

_compile_seconds = 0.0


def _listen(event: str, duration_secs: float, **kwargs: str | int) -> None:
    global _compile_seconds
    if event.startswith("/jax/core/compile/"):  # tracing, lowering, and the compiler itself
        _compile_seconds += duration_secs


jax.monitoring.register_event_duration_secs_listener(_listen)


class Clock:
    """Adds up where the time goes. A phase's seconds are without the compilation that happened in it."""

    def __init__(self) -> None:
        self._seconds = dict.fromkeys(PHASES, 0.0)
        self._started = time.perf_counter()
        self._compiled = _compile_seconds

    def continue_from(self, before: Mapping[str, float]) -> None:
        """Adds what an earlier process of the same run had on its clock."""
        for name, seconds in before.items():
            self._seconds[name] += seconds

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        started, compiled = time.perf_counter(), _compile_seconds
        try:
            yield
        finally:
            self._seconds[name] += time.perf_counter() - started - (_compile_seconds - compiled)

    def training(self) -> float:
        """Seconds of the training proper so far: sampling, rewards and updates."""
        return sum(self._seconds[phase] for phase in TRAINING)

    def read(self) -> dict[str, float]:
        """Seconds so far, by phase; `total` is all of the run's, and more than the sum of the phases."""
        now = self._seconds | {
            "total": self._seconds["total"] + time.perf_counter() - self._started,
            "compile": self._seconds["compile"] + _compile_seconds - self._compiled,
        }
        return {name: round(seconds, 3) for name, seconds in now.items()}
