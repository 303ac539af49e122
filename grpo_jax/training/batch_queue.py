"""The queue of a run's batches: with `rollout.delay`, they are sampled some steps before they are learned from."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from grpo_jax.data import PromptSource
from grpo_jax.training.clock import Clock
from grpo_jax.training.collect import Collected, begin_collecting
from grpo_jax.training.experiment import Experiment
from grpo_jax.training.visits import Visits


@dataclass
class BatchQueue:
    """The batches that wait for their steps, oldest first, and the place in the data after them.

    With a delay d, the batch of step n is sampled by the policy after step n - 1 - d, before step n - d learns from its
    own. The first d + 1 batches are sampled by the base policy. Batches are sampled up to d steps beyond the last one,
    so an extended run is the same as one that was longer from the start.
    """

    experiment: Experiment
    source: PromptSource
    visits: Visits
    clock: Clock
    cursor: int = 0  # in the order of prompts; it also counts those skipped at the end of an epoch
    waiting: deque[Collected] = field(default_factory=deque)
    _finish: Callable[[], Collected] | None = None  # the batch that is under way

    def sample(self, step: int, after_part: Callable[[], None]) -> None:
        """Sample the batches that are missing, by the policy after a step, and let the engine release its weights.

        If the engine is concurrent and there is a delay, the newest batch is only begun. It is sampled during the
        update, and `finish` waits for it.

        Args:
          after_part: called after each part that the engine finishes before the update.

        Raises:
          TrainingError: as `begin_collecting` does.
        """
        engine, rollout = self.experiment.engine, self.experiment.config.rollout
        while (ahead := len(self.waiting)) <= rollout.delay:
            during_update = engine.capabilities.concurrent and 0 < rollout.delay == ahead
            self.cursor = self.source.begin(self.cursor, rollout.prompts_per_step)
            finish = begin_collecting(
                self.experiment,
                self.source,
                self.visits,
                self.clock,
                cursor=self.cursor,
                step=step + 1 + ahead,
                version=step,
                # A stop cannot give up a batch once the policy that samples it has been updated.
                after_part=(lambda: None) if during_update else after_part,
            )
            if during_update:
                self._finish = finish
                return
            self._add(finish())
        engine.unload()  # the update needs the memory

    def finish(self) -> None:
        """Wait for the batch that is under way, if there is one. Raise as `sample` does."""
        if self._finish is not None:
            with self.clock.phase("rewards"):  # `begin_collecting` charges the sampling to its own phase
                self._add(self._finish())
            self._finish = None
            self.experiment.engine.unload()

    def _add(self, batch: Collected) -> None:
        self.cursor += batch.passed
        self.waiting.append(batch)
