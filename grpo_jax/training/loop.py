"""The training loop.

Sample a group of completions for each prompt from the current policy. Score them with a verifiable reward. Turn the
rewards of each group into advantages, and drop the groups that carry no signal. Update the policy on the others. The
metrics of a step are written during the update of the next one. With `rollout.delay`, an earlier policy has sampled the
groups of a step (`BatchQueue`).
"""

import dataclasses
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import jax
import numpy as np

from grpo_jax.config import CheckpointConfig, Config, to_dict
from grpo_jax.data import PromptSource, Split
from grpo_jax.json_record import Formerly, JsonRecord
from grpo_jax.policy import trained_of, with_trained
from grpo_jax.processes import fetch, of_first, put
from grpo_jax.runs.agreement import on_first
from grpo_jax.runs.claim import keep_base
from grpo_jax.runs.directory import BASE_POLICY
from grpo_jax.runs.ending import Interrupted, StopRequested
from grpo_jax.runs.lines import Stage
from grpo_jax.training.base_policy import make_base_policy
from grpo_jax.training.batching import make_minibatches
from grpo_jax.training.collect import BatchQueue, Collected
from grpo_jax.training.compile_ahead import ARMS, UPDATE
from grpo_jax.training.evaluations import evaluate_split, evaluations_due
from grpo_jax.training.experiment import Experiment
from grpo_jax.training.in_flight import InFlight
from grpo_jax.training.late_log import LateLog
from grpo_jax.training.metrics import Metrics
from grpo_jax.training.programs import update_batch_shardings
from grpo_jax.training.run import Run
from grpo_jax.training.same_batches import check_same_batches
from grpo_jax.training.statistics import rollout_statistics, training_groups
from grpo_jax.training.visits import Visits
from grpo_jax.types import Params, TrainState, UpdateBatch


@dataclass(frozen=True)
class Progress(JsonRecord):
    """The record that a checkpoint holds beside the state."""

    step: int
    cursor: int  # see `BatchQueue`
    sampled_prompts: int
    rewards: Annotated[Mapping[str, Any], Formerly("successes")]  # see `DecayedMeans.record`
    seed: int
    config: Mapping[str, Any]
    seconds: Mapping[str, float]  # by phase
    lengths: Mapping[str, Any] | None = None  # like `rewards`; None: an earlier version wrote the record
    right: Mapping[str, Any] | None = None  # likewise, of successes
    streaks: Sequence[tuple[int, int]] = ()  # see `Streaks.record`
    in_flight: Sequence[InFlight] = ()  # the batches that wait for the next steps, oldest first


@dataclass(frozen=True)
class Learned:
    """The results of a step's updates, on the devices, which may still compute them."""

    state: TrainState
    metrics: Sequence[Metrics]  # of each minibatch
    arms: Mapping[str, jax.Array]  # metrics of the gradient's two arms, in the steps that measure them


def run_steps(run: Run) -> TrainState:
    """Train from the base policy, or from the newest checkpoint, to the end, and return the final state.

    Raises:
      Interrupted: after a requested stop, once everything is saved.
      TrainingError: for one of the reasons in `begin_collecting`, or if too many updates in a row were not finite.
      WorkerError: if the workers of a reward fail.
      EngineError: if the rollout engine cannot sample.
    """
    loop, clock = _Loop(run), run.clock
    clock.turn_to("host")
    while True:
        loop.load_weights()
        validation_pass_at_1 = loop.evaluate()
        stopping, finished = run.stop.requested(), loop.step == run.config.train.steps
        if stopping or finished or loop.checkpoint_is_due():
            loop.save(validation_pass_at_1)
        if stopping:  # even at the last step, because evaluations may be missing
            raise loop.interrupted()
        if finished:
            clock.turn_to("other")
            return loop.state
        loop.take_step()


class _Loop:
    """The state of the training between two steps, and what is done with it."""

    def __init__(self, run: Run):
        """Start with the base policy, or continue from the newest checkpoint."""
        config = run.config
        self._run = run
        self.state, self._reference = jax.block_until_ready(_begin(run))
        self.step, self._sampled_prompts = 0, 0
        self._visits = Visits.empty(config.rollout.success_half_life, config.rollout.max_new_tokens)
        source = PromptSource(run.problems[Split.TRAIN], config.seed)
        self._queue = BatchQueue(run.experiment, source, self._visits, run.clock)
        saved = run.checkpoints.restore_latest(self.state)
        if saved:
            self.step, self.state = saved.step, saved.state
            self._continue_from(Progress.from_json(saved.record))
        self._first_step = self.step  # of this process
        self._saved_step, self._saved_at = saved.step if saved else -1, time.monotonic()
        run.directory.rewind(Stage.TRAIN, self.step)
        run.trackers.begin()
        self._evaluated = on_first(lambda: run.directory.evaluated(self.step))  # before the run was stopped
        self._log = LateLog(config, run.directory, run.clock, run.display, updates=int(fetch(self.state.updates)))

    def _continue_from(self, progress: Progress) -> None:
        run, visits = self._run, self._visits
        self._sampled_prompts = progress.sampled_prompts
        self._queue.cursor = progress.cursor
        self._queue.waiting.extend(one.batch() for one in progress.in_flight)
        run.clock.continue_from(progress.seconds)
        visits.rewards.continue_from(progress.rewards)
        visits.successes.continue_from(progress.rewards if progress.right is None else progress.right)
        if progress.lengths is not None:
            visits.lengths.continue_from(progress.lengths)
        visits.streaks.continue_from(progress.streaks)
        run.display.note(f"continued at step {self.step} of {run.config.train.steps}")
        if not run.experiment.engine.capabilities.counter_exact:
            run.display.note("its engine may sample other completions than in a run without interruption")

    def load_weights(self) -> None:
        """Wait for the newest update, and let the engine sample from its policy."""
        run = self._run
        weights = run.experiment.programs.sampling_weights(self.state.params)
        with run.clock.phase("update"):
            jax.block_until_ready(weights)  # the last update may still run; charge it to its own phase
        run.profiler.end(self.step)
        with run.clock.phase("sampling"):
            run.experiment.engine.load(weights, version=self.step)
        del weights  # the engine has them
        self._log.settle()
        if self.step == self._first_step + 1:
            run.clock.record_first_step()

    def evaluate(self) -> float | None:
        """Evaluate on the splits that are due. Return validation pass@1; None if it is not due or not known."""
        run, first = self._run, self.step == self._first_step
        if first:
            run.display.doing("compiling the sampler, or loading it from the cache")
        validation_pass_at_1 = None
        for split in evaluations_due(run.config, self.step):
            if first and split.name in self._evaluated:
                pass_at_1 = self._evaluated[split.name]
            elif run.stop.requested():
                continue
            else:
                self._log.flush()
                with run.clock.phase("compile"):
                    run.compiled(split.name)
                with run.clock.phase("evaluation"):
                    pass_at_1 = evaluate_split(run, split, self.state.params, self.step)
            if split is Split.VALIDATION:  # the test split must not choose checkpoints
                validation_pass_at_1 = pass_at_1
        return validation_pass_at_1

    def checkpoint_is_due(self) -> bool:
        """Return whether the state after this step is to be saved, by its number or by the time."""
        return checkpoint_due(self._run.config.checkpoint, self.step, time.monotonic() - self._saved_at)

    def save(self, validation_pass_at_1: float | None = None) -> None:
        """Save the state after this step; if a checkpoint has it already, add the score that a stop came before."""
        self._log.flush()
        if self.step > self._saved_step:
            with self._run.clock.phase("checkpoints"):
                self._run.directory.sync()
                record = _record(self._run, self.step, self._queue, self._sampled_prompts)
                self._run.checkpoints.save(self.step, self.state, record, validation_pass_at_1)
        elif validation_pass_at_1 is not None:
            self._run.checkpoints.add_score(self.step, validation_pass_at_1)
        self._saved_step, self._saved_at = self.step, time.monotonic()

    def interrupted(self) -> Interrupted:
        """Return the exception of a requested stop, after everything was saved."""
        return Interrupted(f"{self._run.stop.name}: saved at step {self.step} of {self._run.config.train.steps}")

    def take_step(self) -> None:
        """Sample, score, update, and hold the step's metrics for the log.

        `jax.transfer_guard` refuses accidental transfers, because they would wait for the devices.
        """
        run = self._run
        if self.step == self._first_step:
            run.display.doing("compiling the programs of a step, or loading them from the cache")
        with run.clock.phase("compile"):
            run.compiled(Split.TRAIN.name)
        run.profiler.begin(self.step + 1)
        try:
            with self._log.written_on_failure(), jax.transfer_guard("disallow"), run.clock.phase("rewards"):
                self._queue.sample(self.step, after_part=run.stop.obey)  # charges the sampling to its own phase
        except StopRequested:  # finishing the step may take too long, so its samples are dropped
            self.save()
            raise self.interrupted() from None
        self.step += 1
        with self._log.written_on_failure(), jax.transfer_guard("disallow"):
            with run.clock.phase("compile"):
                run.compiled(UPDATE)
                if arms_due(run.config, self.step):
                    run.compiled(ARMS)
            collected = self._queue.waiting.popleft()
            with run.clock.phase("update"):
                learned = learn(run.experiment, self.state, self._reference, collected, self.step)
            self._queue.finish()
        self.state = learned.state
        self._record_step(collected, learned)

    def _record_step(self, collected: Collected, learned: Learned) -> None:
        """Add a step to the estimates of its prompts, to the log and to the recorded rollouts."""
        config, step = self._run.config, self.step
        self._sampled_prompts += len(collected.judged)
        lengths = collected.rollouts.completion_lengths
        rewards, scored = collected.outcomes.rewards, collected.outcomes.scored
        known = rewards, collected.successes, scored, lengths
        self._visits.observe(collected.prompt_ids, *known, collected.signal, step)
        self._log.push(step, self._sampled_prompts, rollout_statistics(collected, step), learned.metrics, learned.arms)
        if config.logging.rollouts_every and step % config.logging.rollouts_every == 0:
            self._run.directory.append_rollouts(step, training_groups(collected, step))


def _begin(run: Run) -> tuple[TrainState, Params | None]:
    """Return the state before the first update, and the reference if the objective needs one.

    The reference consists of the initial values of the trained parameters. Without a reference, the base policy is
    freed after this, and only the state's copy takes memory.
    """
    experiment = run.experiment
    params = make_base_policy(experiment, run.directory, run.clock, run.stop, run.display)
    if run.config.warm_start:
        keep_base(run.directory, BASE_POLICY)
    params = experiment.programs.adapt(params)
    reference = trained_of(params) if experiment.programs.objective.needs_reference else None
    return experiment.programs.init_state(params), reference


def checkpoint_due(config: CheckpointConfig, step: int, seconds: float) -> bool:
    """Return whether to save the state after a step; the first process decides for all.

    Args:
      seconds: since the last checkpoint.
    """
    by_time = config.minutes > 0 and of_first(seconds >= 60 * config.minutes)
    return by_time or step % config.every == 0


def arms_due(config: Config, step: int) -> bool:
    """Return whether a step measures the gradient's two arms."""
    every = config.logging.arms_every
    return every > 0 and step % every == 0


def learn(
    experiment: Experiment, state: TrainState, reference: Params | None, collected: Collected, step: int
) -> Learned:
    """Update the policy with the groups of a step. The state is donated."""
    batches = _minibatches(experiment, state.params, reference, collected, step)
    arms = _arms(experiment, state.params, batches, step)
    metrics = []
    for batch in batches:
        state, minibatch_metrics = experiment.programs.update(state, batch)
        metrics.append(minibatch_metrics)
    return Learned(state, metrics, arms)


def _minibatches(
    experiment: Experiment,
    params: Params,
    reference: Params | None,
    collected: Collected,
    step: int,
) -> list[UpdateBatch]:
    """Return the minibatches of a step on the devices, with the log-probabilities that the objective needs.

    These are computed for all minibatches before the first update: under the policy that sampled the batch or, with
    `rollout.delay`, under the newest one, which is decoupled PPO's proximal policy. Groups without signal are dropped,
    unless there is a KL term. Raise TrainingError if the processes have different minibatches.
    """
    config, chosen = experiment.config, collected.chosen
    keep = collected.signal[chosen]
    if config.objective.kl_coef > 0:
        keep = np.ones_like(keep)  # the KL term is also a loss of groups without signal
    host_batches = list(
        make_minibatches(
            jax.tree.map(lambda array: array[chosen], collected.rollouts),
            collected.advantages[chosen],
            keep=keep,
            minibatches=config.train.minibatches,
            microbatch_groups=config.train.microbatch_groups,
            aggregation=experiment.programs.objective.aggregation,
            denominator=config.objective.denominator,
            prompt_weights=collected.prompt_weights[chosen],
        )
    )
    check_same_batches(config, host_batches, step)
    batches = []
    for host_batch in host_batches:
        batch = put(host_batch, update_batch_shardings(host_batch, experiment.programs.shardings))
        logprobs = {}
        if config.objective.old_logprobs == "trainer":
            logprobs["old_logprobs"] = experiment.programs.logprobs(params, batch)
        if reference is not None:
            logprobs["reference_logprobs"] = experiment.programs.logprobs(with_trained(params, reference), batch)
        batches.append(dataclasses.replace(batch, groups=dataclasses.replace(batch.groups, **logprobs)))
    return batches


def _arms(experiment: Experiment, params: Params, batches: Sequence[UpdateBatch], step: int) -> dict[str, jax.Array]:
    """Return metrics of the gradient's two arms in the first minibatch, or nothing if they are not due."""
    due = arms_due(experiment.config, step) and batches
    return experiment.programs.arms(params, batches[0]) if due else {}


def _record(run: Run, step: int, queue: BatchQueue, prompts_so_far: int) -> dict[str, Any]:
    progress = Progress(
        step=step,
        cursor=queue.cursor,
        sampled_prompts=prompts_so_far,
        rewards=queue.visits.rewards.record(),
        seed=run.config.seed,
        config=to_dict(run.config),
        seconds=run.clock.read(),
        lengths=queue.visits.lengths.record(),
        right=queue.visits.successes.record(),
        streaks=queue.visits.streaks.record(),
        in_flight=tuple(InFlight.of(batch) for batch in queue.waiting),
    )
    return progress.to_json()
