"""Metrics of a step, written when the next one is under way: the host never waits for the newest update."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import jax

from grpo_jax.config import Config
from grpo_jax.processes import fetch
from grpo_jax.rewards import WorkerError
from grpo_jax.runs.directory import Phase, RunDirectory
from grpo_jax.runs.errors import TrainingError
from grpo_jax.training.clock import Clock
from grpo_jax.training.display import Display
from grpo_jax.training.metrics import Metrics, results


class Pending(NamedTuple):
    """A step's metrics before they are all known."""

    step: int
    values: Mapping[str, float]  # known to the host
    minibatches: Sequence[Metrics]  # still on the devices
    others: Mapping[str, Any]  # of the step, still on the devices


class LateLog:
    """Holds the newest step's metrics until the next `push`, or `flush`.

    Before it fetches them it waits for the step's update, in the update's phase: see `grpo_jax.training.clock`.
    """

    def __init__(self, config: Config, directory: RunDirectory, clock: Clock, display: Display, updates: int):
        """`updates`: optimizer steps taken before the first step that will be pushed."""
        self._config = config
        self._directory = directory
        self._clock = clock
        self._display = display
        self._updates = updates
        self._seconds = clock.training()
        self._pending: Pending | None = None

    def push(
        self,
        step: int,
        prompts: int,
        values: Mapping[str, float],
        minibatches: Sequence[Metrics],
        others: Mapping[str, Any],
    ) -> None:
        """Takes a step's metrics, and writes those of the step before.

        Args:
          prompts: sampled so far, this step's included.
          others: numbers of the step that are still on the devices.

        Raises:
          TrainingError: if more updates in a row were not finite than the config allows.
        """
        self.flush()
        budget = {"prompts": prompts, "rollouts": prompts * self._config.rollout.group_size}
        self._pending = Pending(step, {**budget, **values}, minibatches, others)

    def settle(self) -> None:
        """Ends the step that is held back: waits for its update, and takes down what the step has taken."""
        if self._pending is None or "seconds" in self._pending.values:
            return
        with self._clock.phase("update"):
            jax.block_until_ready((self._pending.minibatches, self._pending.others))
        seconds = self._clock.training()
        speed = self._pending.values["tokens"] / max(seconds - self._seconds, 1e-9)
        times = {"seconds": round(seconds, 4), "tokens_per_second": round(speed, 1)}
        self._pending = self._pending._replace(values={**self._pending.values, **times})
        self._seconds = seconds

    def flush(self) -> None:
        """Writes whatever is held back. Raises as `push` does."""
        self.settle()
        if self._pending is None:
            return
        step, values, minibatches, others = self._pending
        self._pending = None
        of_updates = results(fetch(minibatches))
        self._updates = int(of_updates.pop("updates", self._updates))
        # `minibatches` counts those with any group to learn from: one update each.
        of_step = {"minibatches": len(minibatches), "updates": self._updates}
        measured = {name: float(value) for name, value in fetch(others).items()}
        line: dict[str, Any] = {"kind": "train", **values, **of_step, **of_updates, **measured}
        self._directory.append_metrics(Phase.TRAIN, step, line)
        self._display.progress("training", step, self._config.train.steps, line)
        self._check_finite(step, of_updates)

    @contextmanager
    def also_on_failure(self) -> Iterator[None]:
        """Within it, what is held back is written before an error of the training passes: it may say why that came."""
        try:
            yield
        except (TrainingError, WorkerError):
            self.flush()
            raise

    def _check_finite(self, step: int, of_updates: Mapping[str, float]) -> None:
        in_a_row = int(of_updates.get("nonfinite_in_a_row", 0))
        if in_a_row > self._config.optimizer.max_nonfinite:
            raise TrainingError(
                f"step {step}: {in_a_row} updates in a row had gradients that are not finite, and "
                f"optimizer.max_nonfinite={self._config.optimizer.max_nonfinite}; the policy is as it was before them. "
                "Lower optimizer.learning_rate or optimizer.clip_norm, and start a new run with another --workdir."
            )
