"""A profiler's trace of some steps of a run."""

import importlib.util
import os
from collections.abc import Callable
from pathlib import Path

import jax

from grpo_jax.config import ConfigError

PROFILE = "profile"  # the trace's directory, within the run's


def check_profiler() -> None:
    """Raise ConfigError if a trace would crash: libtpu crashes JAX's profiler if it was loaded and found no TPU."""
    loaded = "JAX_PLATFORMS" not in os.environ and importlib.util.find_spec("libtpu") is not None
    if loaded and jax.default_backend() != "tpu":
        raise ConfigError(
            f"--profile-steps: libtpu is installed, but there is no TPU, which crashes JAX's profiler; set "
            f"JAX_PLATFORMS={jax.default_backend()}, or uninstall libtpu."
        )


class Profiler:
    """Traces some steps, for xprof and TensorBoard. Each process of a run writes a trace of its own."""

    def __init__(
        self, steps: range = range(0), folder: Path = Path(PROFILE), note: Callable[[str], None] = lambda text: None
    ) -> None:
        """Make a profiler of these steps; by default of none.

        Args:
          steps: the steps to trace. If a run continues in the middle of them, the remaining ones are traced.
          folder: where the trace is written.
          note: shows the user a line that says where the trace is.
        """
        self._steps, self._folder, self._note = steps, folder, note
        self._tracing = False

    def begin(self, step: int) -> None:
        """Start a trace if this step is to be traced and none has been started."""
        if step in self._steps and not self._tracing:
            options = jax.profiler.ProfileOptions()
            options.python_tracer_level = 0  # every call of a function; the clock's phases say enough
            jax.profiler.start_trace(self._folder, profiler_options=options)
            self._tracing = True

    def end(self, step: int) -> None:
        """Write the trace if this step was its last. The devices must have finished the step."""
        if self._tracing and step == self._steps[-1]:
            self.close()

    def close(self) -> None:
        """Write the trace of the steps so far, unless it is written already."""
        if self._tracing:
            self._tracing = False
            jax.profiler.stop_trace()
            self._note(f"profile: {self._folder}")
