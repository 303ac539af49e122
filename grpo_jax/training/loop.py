"""The training loop.

Sample a group of completions for each prompt from the current policy. Score them with a verifiable reward. Turn the
rewards of each group into advantages, and drop the groups that carry no signal. Update the policy on the others. The
metrics of a step are written during the update of the next one. With `rollout.delay`, an earlier policy has sampled the
groups of a step (`grpo_jax.training.batch_queue`).
"""

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

from grpo_jax.config import CheckpointConfig, Config, counted, known, to_dict
from grpo_jax.data import Problem, PromptSource, Split
from grpo_jax.evaluation import evaluate
from grpo_jax.json_record import JsonRecord
from grpo_jax.policy import trained_of, with_trained
from grpo_jax.processes import fetch, of_first, put
from grpo_jax.runs.agreement import on_first
from grpo_jax.runs.checkpoints import Checkpoints
from grpo_jax.runs.claim import keep_base
from grpo_jax.runs.directory import BASE_POLICY, RunDirectory
from grpo_jax.runs.ending import Interrupted, StopRequest, StopRequested
from grpo_jax.runs.lines import EvaluationLine, Scores, Stage
from grpo_jax.tracking import Trackers
from grpo_jax.training.base_policy import make_base_policy
from grpo_jax.training.batch_queue import BatchQueue
from grpo_jax.training.batching import make_minibatches
from grpo_jax.training.clock import Clock
from grpo_jax.training.collect import Collected, none_scored
from grpo_jax.training.compile_ahead import ARMS, UPDATE
from grpo_jax.training.display import Display
from grpo_jax.training.experiment import Experiment
from grpo_jax.training.in_flight import InFlight
from grpo_jax.training.late_log import LateLog
from grpo_jax.training.metrics import Metrics
from grpo_jax.training.profiler import Profiler
from grpo_jax.training.programs import update_batch_shardings
from grpo_jax.training.requests import evaluation_request
from grpo_jax.training.same_batches import check_same_batches
from grpo_jax.training.statistics import rollout_statistics, training_groups
from grpo_jax.training.visits import Visits
from grpo_jax.types import Params, TrainState, UpdateBatch


@dataclass(frozen=True)
class Run:
    """Everything that the training loop works with."""

    experiment: Experiment
    problems: Mapping[Split, Sequence[Problem]]
    directory: RunDirectory
    checkpoints: Checkpoints
    clock: Clock
    stop: StopRequest
    display: Display
    compiled: Callable[[str], None] = lambda name: None  # waits for programs; see `compiling_ahead`
    profiler: Profiler = field(default_factory=Profiler)
    trackers: Trackers = field(default_factory=Trackers)

    @property
    def config(self) -> Config:
        return self.experiment.config


@dataclass(frozen=True)
class Progress(JsonRecord):
    """The record that a checkpoint holds beside the state."""

    step: int
    cursor: int  # see `BatchQueue`
    sampled_prompts: int
    successes: Mapping[str, Any]  # of rewards: see `DecayedMeans.record`
    seed: int
    config: Mapping[str, Any]
    seconds: Mapping[str, float]  # by phase
    lengths: Mapping[str, Any] | None = None  # like `successes`; None: an earlier version wrote the record
    right: Mapping[str, Any] | None = None  # likewise: of right completions
    streaks: Sequence[tuple[int, int]] = ()  # see `Streaks.record`
    in_flight: Sequence[InFlight] = ()  # the batches that wait for the next steps, oldest first


def run_steps(run: Run) -> TrainState:
    """Train from the base policy, or from the newest checkpoint, to the end, and return the final state.

    Raises:
      Interrupted: after a requested stop, once everything is saved.
      TrainingError: for one of the reasons in `collect`, or if too many updates in a row were not finite.
      WorkerError: if the workers of a reward fail.
      EngineError: if the rollout engine cannot sample.
    """
    config, experiment, clock, engine = run.config, run.experiment, run.clock, run.experiment.engine
    state, reference = jax.block_until_ready(_begin(run))
    visits = Visits.begin(config.rollout.success_half_life, config.rollout.max_new_tokens)
    queue = BatchQueue(experiment, PromptSource(run.problems[Split.TRAIN], config.seed), visits, clock)
    saved = run.checkpoints.restore_latest(state)
    step, prompts_so_far = 0, 0
    if saved:
        step, state = saved.step, saved.state
        progress = Progress.from_json(saved.record)
        queue.cursor, prompts_so_far = progress.cursor, progress.sampled_prompts
        queue.waiting.extend(one.batch() for one in progress.in_flight)
        clock.continue_from(progress.seconds)
        visits.rewards.continue_from(progress.successes)
        visits.successes.continue_from(progress.successes if progress.right is None else progress.right)
        if progress.lengths is not None:
            visits.lengths.continue_from(progress.lengths)
        visits.streaks.continue_from(progress.streaks)
        run.display.note(f"continued at step {step} of {config.train.steps}")
        if not engine.capabilities.counter_exact:
            run.display.note("its engine may sample other completions than in a run without interruption")
    run.directory.rewind(Stage.TRAIN, step)
    run.trackers.begin()
    evaluated = on_first(lambda: run.directory.splits_evaluated(step))  # before the run was stopped
    first_step = step
    log = LateLog(config, run.directory, clock, run.display, updates=int(fetch(state.updates)))
    newest, saved_at = saved.step if saved else -1, time.monotonic()  # the step of the newest checkpoint

    def save(score: float | None = None) -> None:
        """Save the state after this step, unless a checkpoint has it already."""
        nonlocal newest, saved_at
        log.flush()
        if step > newest:
            with clock.phase("checkpoints"):
                record = _record(run, step, queue, prompts_so_far)
                run.checkpoints.save(step, state, record, score)
        newest, saved_at = step, time.monotonic()

    def stopped() -> Interrupted:
        return Interrupted(f"{run.stop.name}: saved at step {step} of {config.train.steps}")

    clock.turn_to("host")
    while True:
        weights = experiment.programs.sampling_weights(state.params)
        with clock.phase("update"):
            jax.block_until_ready(weights)  # the last update may still run; charge it to its own phase
        run.profiler.end(step)
        with clock.phase("sampling"):
            engine.load(weights, version=step)
        del weights  # the engine has them
        log.settle()
        if step == first_step + 1:
            clock.first_step_is_done()
        if step == first_step:
            run.display.doing("compiling the sampler, or loading it from the cache")
        validation_pass_at_1 = None
        for split in evaluations_due(config, step):
            already = step == first_step and split.name in evaluated
            if not already and not run.stop.requested():
                log.flush()
                with clock.phase("compile"):
                    run.compiled(split.name)
                with clock.phase("evaluation"), _as_trained(experiment, state.params, step):
                    pass_at_1 = _evaluate(run, split, step)
                if split is Split.VALIDATION:  # the test split must not choose checkpoints
                    validation_pass_at_1 = pass_at_1
        stopping, finished = run.stop.requested(), step == config.train.steps
        if stopping or finished or checkpoint_due(config.checkpoint, step, time.monotonic() - saved_at):
            save(validation_pass_at_1)
        if stopping:  # even at the last step, because evaluations may be missing
            raise stopped()
        if finished:
            clock.turn_to("other")
            return state

        if step == first_step:
            run.display.doing("compiling the programs of a step, or loading them from the cache")
        with clock.phase("compile"):
            run.compiled(Split.TRAIN.name)
        run.profiler.begin(step + 1)
        # The guard refuses accidental transfers, which would wait for the devices.
        try:
            with log.written_on_failure(), jax.transfer_guard("disallow"), clock.phase("rewards"):
                queue.sample(step, after_part=run.stop.obey)  # charges the sampling to a phase of its own
        except StopRequested:  # finishing the step may take too long, so its samples are dropped
            save()
            raise stopped() from None
        step += 1
        with log.written_on_failure(), jax.transfer_guard("disallow"):
            with clock.phase("compile"):
                run.compiled(UPDATE)
                if arms_due(config, step):
                    run.compiled(ARMS)
            collected = queue.waiting.popleft()
            with clock.phase("update"):
                learned = learn(experiment, state, reference, collected, step)
            queue.finish()
        state = learned.state
        prompts_so_far += len(collected.judged)
        lengths = collected.rollouts.completion_lengths
        outcomes = collected.rewards, collected.successes, collected.scored
        visits.observe(collected.prompts, *outcomes, lengths, collected.signal, step)
        log.push(step, prompts_so_far, rollout_statistics(collected, step), learned.metrics, learned.arms)
        if config.logging.rollouts_every and step % config.logging.rollouts_every == 0:
            run.directory.append_rollouts(step, training_groups(collected, step))


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


def evaluations_due(config: Config, step: int) -> list[Split]:
    """Return the splits to evaluate at a step: test at both ends; validation at both ends and on schedule."""
    ends = step in (0, config.train.steps)
    scheduled = config.evaluation.every and step % config.evaluation.every == 0
    return [Split.TEST] * ends + [Split.VALIDATION] * bool(config.evaluation.every and (ends or scheduled))


def arms_due(config: Config, step: int) -> bool:
    """Return whether a step measures the gradient's two arms."""
    every = config.logging.arms_every
    return every > 0 and step % every == 0


@dataclass(frozen=True)
class Learned:
    """The results of a step's updates, on the devices, which may still compute them."""

    state: TrainState
    metrics: Sequence[Metrics]  # of each minibatch
    arms: Mapping[str, jax.Array]  # metrics of the gradient's two arms, in the steps that measure them


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


@contextmanager
def _as_trained(experiment: Experiment, params: Params, step: int) -> Iterator[None]:
    """Let the engine sample from the trained policy, even if it otherwise samples from a quantised one."""
    if experiment.config.rollout.quantization == "none":
        yield
        return
    programs, engine = experiment.programs, experiment.engine
    engine.load(programs.evaluation_weights(params), version=step)
    yield
    engine.load(programs.sampling_weights(params), version=step)


def _evaluate(run: Run, split: Split, step: int) -> float | None:
    """Evaluate on a split, write the results, and return pass@1; None if it is not known, or a stop was requested."""
    phase = f"{split.name.lower()} at step {step}"
    evaluation = evaluate(
        run.experiment.engine,
        run.experiment.task,
        run.problems[split],
        evaluation_request(run.config, split),
        bootstrap=run.config.evaluation.bootstrap,
        stop=run.stop.requested,
        progress=lambda done: run.display.progress(phase, done, len(run.problems[split]), {}),
    )
    if evaluation is None:
        return None
    run.directory.write_evaluation(f"{step:06d}_{split.name.lower()}", evaluation.groups)
    scores = evaluation.scores
    if step == 0 and scores.unscored == scores.problems * scores.samples:  # so would be all of the first step
        raise none_scored(phase, run.experiment.task.reward)
    run.directory.append_metrics(EvaluationLine(step, split.name, scores))
    run.display.note(f"step {step}, {split.name.lower()}: {_told(scores)}, {scores.mean_length:.1f} tokens")
    first, keep = scores.pass_at[0], run.config.checkpoint.keep_best
    if first.known:
        return first.value
    if split is Split.VALIDATION and keep and step == 0:
        run.display.note(f"so no checkpoint is known to be the best, and checkpoint.keep_best={keep} keeps none")
    return None


def _told(scores: Scores) -> str:
    """Return the scores of an evaluation as a phrase; it says so if there are none, or if some are not known."""
    n, first, last = scores.samples * scores.problems, scores.pass_at[0], scores.pass_at[-1]
    if not first.known:
        why = "could judge no completion" if scores.unscored == n else "does not say what is right"
        return f"pass@1 is not known, because the reward {why}; mean reward {known(scores.mean_reward)}"
    told = f"pass@1 {first.value:.3f} [{first.interval(', ')}], pass@{scores.samples} {last.value:.3f}"
    if scores.unscored:
        told += f" ({scores.unscored} of {counted(n, 'completion')} without a verdict count as wrong)"
    return told


def _record(run: Run, step: int, queue: BatchQueue, prompts_so_far: int) -> dict[str, Any]:
    progress = Progress(
        step=step,
        cursor=queue.cursor,
        sampled_prompts=prompts_so_far,
        successes=queue.visits.rewards.record(),
        seed=run.config.seed,
        config=to_dict(run.config),
        seconds=run.clock.read(),
        lengths=queue.visits.lengths.record(),
        right=queue.visits.successes.record(),
        streaks=queue.visits.streaks.record(),
        in_flight=tuple(InFlight.of(batch) for batch in queue.waiting),
    )
    return progress.to_json()
