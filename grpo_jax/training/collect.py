"""Collect the batches of a run: the engine samples groups, the reward judges them, and they get advantages.

With `rollout.delay`, a batch is sampled some steps before it is learned from.
"""

import dataclasses
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import numpy as np
from jaxtyping import Bool, Float

from grpo_jax.data import PromptSource
from grpo_jax.evaluation import Samples, begin_sampling, rewards_of, successes_of
from grpo_jax.objectives import Outcomes
from grpo_jax.processes import fetch, put
from grpo_jax.runs.ending import TrainingError
from grpo_jax.runs.groups import JudgedGroup, carries_signal
from grpo_jax.training.clock import Clock
from grpo_jax.training.experiment import Experiment
from grpo_jax.training.requests import training_request
from grpo_jax.training.resampling import choose_groups, estimate_together, wants_more
from grpo_jax.training.selection import BatchStart, Selected, select_prompts
from grpo_jax.training.unfit import check_rewards, none_scored
from grpo_jax.training.visits import Visits
from grpo_jax.types import Rollouts


@dataclass(frozen=True)
class Collected:
    """All groups that a step has sampled, as host arrays."""

    judged: Sequence[JudgedGroup]
    rollouts: Rollouts
    outcomes: Outcomes
    advantages: Float[np.ndarray, "N G"]
    chosen: Bool[np.ndarray, " N"]  # False for groups that were replaced, or for which the step had no room
    prompt_weights: Float[np.ndarray, " N"]  # factors of the groups' losses
    consumed: int  # how many prompts of the order were sampled or left out
    version: int  # of the weights that sampled them: the step after which the policy had them

    @property
    def signal(self) -> Bool[np.ndarray, " N"]:
        """A mask of the groups that carry signal."""
        return carries_signal(self.advantages)

    @property
    def successes(self) -> Float[np.ndarray, "N G"]:
        """How far each completion is right; see `successes_of`."""
        return successes_of(self.judged)

    @property
    def prompt_ids(self) -> list[int]:
        """The ids of the groups' prompts."""
        return [one.id for one in self.judged]


@dataclass
class BatchQueue:
    """The batches that wait for their steps, oldest first, and the position in the data after them.

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
          TrainingError, EngineError: as `begin_collecting` does.
        """
        engine, rollout = self.experiment.engine, self.experiment.config.rollout
        while (ahead := len(self.waiting)) <= rollout.delay:
            is_newest = ahead == rollout.delay
            during_update = engine.capabilities.concurrent and rollout.delay > 0 and is_newest
            self.cursor = self.source.start_of_step(self.cursor, rollout.prompts_per_step)
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
        self.cursor += batch.consumed
        self.waiting.append(batch)


def begin_collecting(
    experiment: Experiment,
    source: PromptSource,
    visits: Visits,
    clock: Clock,
    *,
    cursor: int,
    step: int,
    version: int,
    after_part: Callable[[], None] = lambda: None,
) -> Callable[[], Collected]:
    """Hand the prompts of a step to the engine, and return a function that waits for their groups.

    A concurrent engine begins at the call, others when the function is called. The function judges the groups and
    computes their advantages. `visits` must not change until it has returned. The step's prompts begin at `cursor`;
    those that `rollout.selection` leaves out are skipped.

    If groups may be replaced, advantages are computed twice: of each group alone, which decides whether it is replaced,
    and then of the step's groups together, because an estimator may compare a group with the others of its step. Only
    sampling is charged to a phase of its own; everything else is charged to the clock's current phase.

    Args:
      experiment: its engine holds the policy.
      step: the step that will learn from the groups.
      version: the step after which the policy had the weights that sample.
      after_part: called after each part that the engine finishes. If it raises, the step ends.

    Raises:
      TrainingError: if the policy's log-probabilities are not finite, if no completion could be scored, or if rewards
        do not fit the objective (`check_rewards`).
      EngineError: if the engine sampled with other weights, or returned groups that cannot be used.
    """
    rollout = experiment.config.rollout
    selected: list[Selected] = []

    def consumed() -> int:
        return sum(each.consumed for each in selected)

    def begin(prompts: int) -> Callable[[], Samples]:
        start = BatchStart(source, cursor + consumed(), step)
        selected.append(select_prompts(experiment.config, visits, start, prompts))
        problems = selected[-1].problems
        lengths = visits.lengths.expected([problem.id for problem in problems], step)
        request = training_request(experiment.config, step, lengths, version=version)
        return begin_sampling(
            experiment.engine,
            experiment.task,
            problems,
            request,
            while_waiting=lambda: clock.phase("sampling"),
            after_part=after_part,
        )

    def checked(samples: Samples) -> Samples:
        if not np.isfinite(samples.rollouts.logprobs).all():
            raise TrainingError(
                f"step {step}: the policy's log-probabilities are not finite; lower optimizer.learning_rate or "
                "optimizer.clip_norm, and start a new run with another --workdir."
            )
        return samples

    first = begin(rollout.prompts_per_step)

    def finish() -> Collected:
        parts = [checked(first())]
        collected = _combine(experiment, visits, parts, selected, step)
        while wants_more(rollout, collected.signal, source.left(cursor) - consumed()):
            more = begin(rollout.prompts_per_batch)
            parts.append(checked(more()))
            collected = _combine(experiment, visits, parts, selected, step)
        outcomes = collected.outcomes
        if not outcomes.scored.any():
            raise none_scored(f"step {step}", experiment.task.reward)
        objective = experiment.programs.objective
        check_rewards(experiment.config, objective, collected.judged, outcomes.rewards, outcomes.scored, step)
        if not rollout.max_rollouts:
            return collected
        estimate = partial(_estimate, experiment, experiment.samplers.advantages)
        advantages = estimate_together(estimate, outcomes, collected.advantages, collected.chosen)
        return dataclasses.replace(collected, advantages=advantages)

    return finish


def _combine(
    experiment: Experiment, visits: Visits, parts: Sequence[Samples], selected: Sequence[Selected], step: int
) -> Collected:
    """Return all parts as one. If groups may be replaced, advantages are those that each group has alone."""
    judged = [group for part in parts for group in part.groups]
    rollouts = jax.tree.map(lambda *arrays: np.concatenate(arrays), *(part.rollouts for part in parts))
    rewards, scored = rewards_of(judged)
    ids = [one.id for one in judged]
    outcomes = Outcomes(
        rewards=rewards,
        scored=scored,
        lengths=rollouts.completion_lengths,
        expected=visits.rewards.expected(ids, step),
        evidence=visits.rewards.evidence(ids, step),
        success=visits.successes.expected(ids, step),
    )
    rollout, samplers = experiment.config.rollout, experiment.samplers
    estimator = samplers.advantages_alone if rollout.max_rollouts else samplers.advantages
    advantages = _estimate(experiment, estimator, outcomes)
    return Collected(
        judged=judged,
        rollouts=rollouts,
        outcomes=outcomes,
        advantages=advantages,
        chosen=choose_groups(carries_signal(advantages), rollout.prompts_per_step),
        prompt_weights=np.concatenate([each.weights for each in selected]),
        consumed=sum(each.consumed for each in selected),
        version=parts[0].version,
    )


def _estimate(
    experiment: Experiment, estimator: Callable[[Outcomes], Any], outcomes: Outcomes
) -> Float[np.ndarray, "N G"]:
    """Return advantages, computed by a program of the samplers, whose devices do not wait for an update."""
    found: np.ndarray = fetch(estimator(put(outcomes, experiment.samplers.shardings.replicated)))
    return found
