"""The late log: metrics of a step are written while the devices compute the next update, so writing costs no time."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import jax

from grpo_jax.config import Config, counted
from grpo_jax.processes import fetch
from grpo_jax.rewards import WorkerError
from grpo_jax.runs.directory import RunDirectory
from grpo_jax.runs.ending import TrainingError
from grpo_jax.runs.lines import Measured, SampleStatistics, TrainLine
from grpo_jax.sampling import EngineError
from grpo_jax.training.clock import Clock
from grpo_jax.training.display import Display
from grpo_jax.training.metrics import Metrics, results
from grpo_jax.training.slowest import Slowest


@dataclass
class Pending:
    """The metrics of a step that are not all known yet."""

    step: int
    prompts: int  # sampled so far
    sampled: SampleStatistics
    minibatches: Sequence[Metrics]  # still on the devices
    others: Mapping[str, Any]  # other numbers of the step, still on the devices
    slowest: Mapping[str, float]  # see `Slowest`
    seconds: float | None = None  # of training, once the step has ended
    tokens_per_second: float = 0.0


class LateLog:
    """Holds the metrics of the newest step until the next `push` or `flush`.

    Before it fetches them, it waits for the step's update in the update's phase; see `grpo_jax.training.clock`.
    """

    def __init__(self, config: Config, directory: RunDirectory, clock: Clock, display: Display, updates: int):
        """Start with nothing held. `updates` is the number of optimizer steps taken before the first pushed step."""
        self._config = config
        self._directory = directory
        self._clock = clock
        self._display = display
        self._updates = updates
        self._seconds = clock.training()
        self._slowest = Slowest()
        self._pending: Pending | None = None

    def push(
        self,
        step: int,
        prompts: int,
        sampled: SampleStatistics,
        minibatches: Sequence[Metrics],
        others: Mapping[str, Any],
    ) -> None:
        """Hold the metrics of a step, and write those of the step before.

        Args:
          prompts: the number sampled so far, including this step.
          others: other numbers of the step, still on the devices.

        Raises:
          TrainingError: if more updates in a row were not finite than the config allows.
        """
        slowest = self._slowest.since_last()
        self.flush()
        self._pending = Pending(step, prompts, sampled, minibatches, others, slowest)

    def settle(self) -> None:
        """Wait for the update of the held step, and record how long the step took."""
        pending = self._pending
        if pending is None or pending.seconds is not None:
            return
        with self._clock.phase("update"):
            jax.block_until_ready((pending.minibatches, pending.others))
        seconds = self._clock.training()
        pending.seconds = round(seconds, 4)
        pending.tokens_per_second = round(pending.sampled.tokens / max(seconds - self._seconds, 1e-9), 1)
        self._seconds = seconds

    def flush(self) -> None:
        """Write the held metrics, if there are any. Raise as `push` does."""
        self.settle()
        pending, self._pending = self._pending, None
        if pending is None or pending.seconds is None:
            return
        update_metrics = results(fetch(pending.minibatches))
        self._updates = int(update_metrics.pop(Measured.UPDATES, self._updates))
        line = TrainLine(
            step=pending.step,
            prompts=pending.prompts,
            rollouts=pending.prompts * self._config.rollout.group_size,
            sampled=pending.sampled,
            seconds=pending.seconds,
            tokens_per_second=pending.tokens_per_second,
            minibatches=len(pending.minibatches),
            updates=self._updates,
            measured={
                **update_metrics,
                **{name: float(value) for name, value in fetch(pending.others).items()},
                **pending.slowest,
            },
        )
        self._directory.append_metrics(line)
        shown = {
            "reward {:.2f}": line.sampled.reward,
            "signal {:.2f}": line.sampled.signal_share,
            "length {:.1f}": line.sampled.completion_length,
            "{:,.0f} tokens/s": line.tokens_per_second,
        }
        self._display.progress("training", line.step, self._config.train.steps, shown)
        self._check_finite(line.step, update_metrics)

    @contextmanager
    def written_on_failure(self) -> Iterator[None]:
        """Write the held metrics if this context raises, because they may show the cause."""
        try:
            yield
        except (TrainingError, WorkerError, EngineError):
            self.flush()
            raise

    def _check_finite(self, step: int, update_metrics: Mapping[str, float]) -> None:
        in_a_row = int(update_metrics.get(Measured.NONFINITE_IN_A_ROW, 0))
        if in_a_row > self._config.optimizer.max_nonfinite:
            raise TrainingError(
                f"step {step}: {counted(in_a_row, 'update')} in a row had gradients that are not finite, and "
                f"optimizer.max_nonfinite={self._config.optimizer.max_nonfinite}; none changed the policy. "
                "Lower optimizer.learning_rate or optimizer.clip_norm, and start a new run with another --workdir."
            )
