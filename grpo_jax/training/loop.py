"""The training loop.

Sample a group of completions for each prompt from the current policy. Score them with a verifiable reward. Turn each
group's rewards into advantages, and drop the groups that carry no signal. Update the policy on what is left, and only
then look at the metrics of the step before.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import jax

from grpo_jax.config import (
    CONTINUABLE,
    ROUNDING,
    UNDECISIVE,
    Config,
    differing,
    digest,
    obstacle,
    read_recorded,
    to_dict,
)
from grpo_jax.data import Problem, PromptSource, Split
from grpo_jax.evaluation import evaluate, warm
from grpo_jax.policy import trained_of, with_trained
from grpo_jax.processes import barrier, fetch, of_first, put
from grpo_jax.runs.agreement import on_all, on_first
from grpo_jax.runs.checkpoints import Checkpoints, kept_steps
from grpo_jax.runs.claim import check_hosts, claim, keep_base
from grpo_jax.runs.directory import BASE_POLICY, RunDirectory
from grpo_jax.runs.errors import Interrupted, TrainingError
from grpo_jax.runs.fork import Origin, fork
from grpo_jax.runs.inputs import Inputs, checkpoint_files, read_inputs
from grpo_jax.runs.interrupts import StopRequest
from grpo_jax.runs.lines import EvaluationLine, Phase
from grpo_jax.runs.provenance import FILE, now, recorded, recorded_date, this_start, without_inputs
from grpo_jax.runs.summary import summarize_run
from grpo_jax.sampling import Stream
from grpo_jax.training.base_policy import make_base_policy
from grpo_jax.training.batching import make_minibatches
from grpo_jax.training.clock import Clock
from grpo_jax.training.collect import Collected, collect, dispatch
from grpo_jax.training.display import Display, Silent
from grpo_jax.training.experiment import Experiment, build
from grpo_jax.training.late_log import LateLog
from grpo_jax.training.problems import problems_of
from grpo_jax.training.programs import SamplingWeights, update_batch_shardings
from grpo_jax.training.statistics import rollout_statistics, training_groups
from grpo_jax.training.successes import Successes
from grpo_jax.types import Params, Rollouts, TrainState, UpdateBatch


@dataclass(frozen=True)
class Run:
    """What the parts of a running training share."""

    experiment: Experiment
    problems: Mapping[Split, Sequence[Problem]]
    directory: RunDirectory
    checkpoints: Checkpoints
    clock: Clock
    stop: StopRequest
    display: Display

    @property
    def config(self) -> Config:
        return self.experiment.config


def train(
    config: Config,
    workdir: Path,
    display: Display | None = None,
    devices: Sequence[jax.Device] | None = None,
    origin: Origin | None = None,
) -> dict[str, Any]:
    """Runs a configuration from where its directory says it stands to its end, and returns its summary.

    A run that is finished is left as it is. The configuration may be another than so far in the fields that the schema
    marks so: see `grpo_jax.config.continuing`. What is read must be what was read when the run was begun.

    Args:
      workdir: the run directory; see `RunDirectory`.
      display: where progress is told; nowhere if None.
      devices: to run on; all if None.
      origin: the run that this one branches off, if it does; see `fork`.

    Raises:
      ConfigError: before anything is computed or written, if the configuration cannot work here.
      Interrupted: after SIGTERM or Ctrl-C, when everything is saved; calling again continues.
      TrainingError: if updates are not finite, or if there was none at all.
    """
    clock = Clock()
    display = display or Silent()
    directory = RunDirectory(workdir, writes=jax.process_index() == 0, tensorboard=config.logging.tensorboard)
    if summary := on_first(lambda: finished(directory, config)):
        display.note(f"{workdir}: the run is finished, and left as it is")
        return dict(summary)
    notes = on_first(lambda: fork(directory, config, origin) if origin else [])
    display.doing("preparing the task and the programs")
    date = on_first(lambda: recorded_date(directory) or now())
    experiment, problems, inputs = on_all(lambda: _read(config, devices, date))
    start = this_start(experiment.mesh.devices.flatten().tolist())
    check_hosts(to_dict(config), inputs, start)
    claimed = claim(
        directory,
        to_dict(config),
        inputs,
        start,
        free=CONTINUABLE,
        read=read_recorded,
        veto=lambda theirs: obstacle(theirs, config, max(kept_steps(workdir / "checkpoints"), default=0)),
    )
    for note in (*notes, *claimed.notes):
        display.note(note)
    with closing(directory):
        if earlier := directory.read_json("summary.json"):  # of a run that is extended: it is of the first part
            part = f"{earlier['steps']:06d}" if "steps" in earlier else earlier["config_hash"]
            directory.move("summary.json", f"summary_{part}.json")
        with recorded(directory):
            summary = _run(experiment, problems, directory, clock, display)
        summary["provenance"] = without_inputs(directory.read_json(FILE))
        directory.write_json("summary.json", summary)
    return summary


def finished(directory: RunDirectory, config: Config) -> dict[str, Any] | None:
    """The summary of a run that has come to its end under this configuration; None if it has not.

    What decides no result may be another by now: nothing is left that it could be about.
    """
    summary, theirs = directory.read_json("summary.json"), directory.read_json("config.json")
    if summary is None or theirs is None:
        return None
    if differing(directory.config(), to_dict(config), free=(*UNDECISIVE, *ROUNDING)):
        return None
    if "steps" not in summary:  # of an earlier version
        return summary if summary["config_hash"] == digest(theirs) else None
    return summary if summary["steps"] == config.train.steps else None


def _read(
    config: Config, devices: Sequence[jax.Device] | None, date: str
) -> tuple[Experiment, dict[Split, Sequence[Problem]], Inputs]:
    """What a configuration builds, its problems, and the digests of all that was read for it."""
    experiment = build(config, devices, datetime.fromisoformat(date))
    problems = problems_of(config, experiment.task)
    return experiment, problems, read_inputs(config, experiment.task, problems, checkpoint_files(config), date)


def _run(
    experiment: Experiment,
    problems: Mapping[Split, Sequence[Problem]],
    directory: RunDirectory,
    clock: Clock,
    display: Display,
) -> dict[str, Any]:
    config = experiment.config
    keep = config.checkpoint
    with _stop_request(config) as stop, closing(experiment.task.reward):
        warm(experiment.task.reward)
        with closing(
            Checkpoints(directory.path / "checkpoints", keep_last=keep.keep_last, keep_best=keep.keep_best)
        ) as checkpoints:
            state = _train(Run(experiment, problems, directory, checkpoints, clock, stop, display))
    barrier("run finished")  # what the first process wrote is there for all
    updates = int(fetch(state.updates))
    if updates == 0:
        raise TrainingError(
            "no update was made: not one group carried signal; see the rewards in rollouts/, and make the task easier."
        )
    return summarize_run(config, directory.metrics(), clock.read(), updates)


def _stop_request(config: Config) -> StopRequest:
    every = config.checkpoint.every
    return StopRequest(
        saving="this step is finished and saved, then the run ends",
        losing=f"the steps since the last checkpoint (every {every})",
    )


def _train(run: Run) -> TrainState:
    """Trains from the base policy, or from the newest checkpoint, to the end."""
    config, experiment, clock = run.config, run.experiment, run.clock
    state, reference = jax.block_until_ready(_begin(run))
    successes = Successes(config.rollout.success_half_life)
    saved = run.checkpoints.restore_latest(state)
    step, cursor, sampled = 0, 0, 0  # sampled: prompts so far, which resampling and the ends of epochs part from cursor
    if saved:
        step, state = saved.step, saved.state
        cursor, sampled = saved.record["cursor"], saved.record["sampled_prompts"]
        clock.continue_from(saved.record["seconds"])
        successes.continue_from(saved.record["successes"])
        run.display.note(f"continued at step {step} of {config.train.steps}")
    run.directory.rewind(Phase.TRAIN, step)
    evaluations = run.directory.metrics().evaluations
    evaluated = of_first([line.split for line in evaluations if line.step == step])  # before the stop
    begun = step
    source = PromptSource(run.problems[Split.TRAIN], config.seed)
    log = LateLog(config, run.directory, clock, run.display, updates=int(fetch(state.updates)))

    clock.turn_to("host")
    while True:
        weights = experiment.sampling_weights(state.params)
        with clock.phase("update"):
            jax.block_until_ready(weights)  # the last update runs on until here: nothing that follows shall pay for it
        log.settle()
        score = None
        for split in evaluations_due(config, step):
            if not (step == begun and split.name in evaluated) and not run.stop.requested():
                log.flush()
                with clock.phase("evaluation"):
                    pass_at_1 = _evaluate(run, weights, split, step)
                if split is Split.VALIDATION:  # nothing may be chosen by the test split
                    score = pass_at_1
        stopping, finished = run.stop.requested(), step == config.train.steps
        if stopping or finished or step % config.checkpoint.every == 0:
            log.flush()
            if not saved or step > saved.step:
                with clock.phase("checkpoints"):
                    run.checkpoints.save(step, state, _record(run, step, cursor, sampled, successes), score)
        if stopping:  # also at the last step, where evaluations may be missing
            raise Interrupted(f"{run.stop.name}: saved at step {step} of {config.train.steps}")
        if finished:
            clock.turn_to("other")
            return state

        if step == begun:
            run.display.doing("compiling the programs of a step")
        step += 1
        cursor = source.begin(cursor, config.rollout.prompts_per_step)
        with log.also_on_failure(), jax.transfer_guard("disallow"):
            with clock.phase("rewards"):
                collected = collect(experiment, source, successes, weights, clock, cursor=cursor, step=step)
            del weights  # the update needs the room
            with clock.phase("update"):
                batches = _minibatches(experiment, state.params, reference, collected)
                arms = _arms(experiment, state.params, batches, step)
                metrics = []
                for batch in batches:
                    state, of_minibatch = experiment.update(state, batch)
                    metrics.append(of_minibatch)
        cursor += len(collected.judged)
        sampled += len(collected.judged)
        successes.observe(collected.prompts, collected.rewards, collected.scored, step)
        log.push(step, sampled, rollout_statistics(collected), metrics, arms)
        if config.logging.rollouts_every and step % config.logging.rollouts_every == 0:
            run.directory.append_rollouts(step, training_groups(collected, step))


def _begin(run: Run) -> tuple[TrainState, Params | None]:
    """Return the state before the first update, and the reference if the objective asks for one.

    The reference is what is trained, as it is at first. Without one, nobody holds the base policy after this, and it
    takes no memory beside the state's copy.
    """
    experiment = run.experiment
    params = make_base_policy(experiment, run.directory, run.clock, run.stop, run.display)
    if run.config.warm_start:
        keep_base(run.directory, BASE_POLICY)
    params = experiment.adapt(params)
    return experiment.init_state(params), trained_of(params) if experiment.objective.reference else None


def evaluations_due(config: Config, step: int) -> list[Split]:
    """The test split before and after training; the validation split then too, and on schedule."""
    ends = step in (0, config.train.steps)
    scheduled = config.evaluation.every and step % config.evaluation.every == 0
    return [Split.TEST] * ends + [Split.VALIDATION] * bool(config.evaluation.every and (ends or scheduled))


def _minibatches(
    experiment: Experiment,
    params: Params,
    reference: Params | None,
    collected: Collected,
) -> list[UpdateBatch]:
    """The minibatches of a step on the devices, with the log-probabilities that the objective asks for.

    All are scored before the first update, by the policy that the whole batch calls old.
    """
    config, chosen = experiment.config, collected.chosen
    batches = []
    for host_batch in make_minibatches(
        jax.tree.map(lambda array: array[chosen], collected.rollouts),
        collected.advantages[chosen],
        wanted=collected.signal[chosen] | (config.objective.kl_coef > 0),
        minibatches=config.train.minibatches,
        microbatch_groups=config.train.microbatch_groups,
        aggregation=experiment.objective.aggregation,
        denominator=config.objective.denominator,
    ):
        batch = put(host_batch, update_batch_shardings(host_batch, experiment.shardings))
        scores = {}
        if config.objective.old_logprobs == "trainer":
            scores["old_logprobs"] = experiment.score(params, batch)
        if reference is not None:
            scores["reference_logprobs"] = experiment.score(with_trained(params, reference), batch)
        batches.append(dataclasses.replace(batch, groups=dataclasses.replace(batch.groups, **scores)))
    return batches


def _arms(experiment: Experiment, params: Params, batches: Sequence[UpdateBatch], step: int) -> dict[str, jax.Array]:
    """The gradient's two arms in the first minibatch, on schedule."""
    every = experiment.config.logging.arms_every
    return experiment.arms(params, batches[0]) if every and step % every == 0 and batches else {}


def _evaluate(run: Run, weights: SamplingWeights, split: Split, step: int) -> float | None:
    """Evaluates on a split, writes it down, and returns pass@1; None if a stop was requested on the way.

    The keys do not depend on the step, so that two evaluations differ by the policy only.
    """
    experiment, settings = run.experiment, run.config.evaluation
    sampler, stream = {
        Split.VALIDATION: (experiment.sample_validation, Stream.VALIDATION),
        Split.TEST: (experiment.sample_test, Stream.TEST),
    }[split]

    phase, begun = f"{split.name.lower()} at step {step}", 0
    batches = -(-len(run.problems[split]) // settings.prompts_per_batch)

    def sample(problems: Sequence[Problem]) -> Rollouts:
        nonlocal begun
        run.display.progress(phase, begun, batches, {})  # those that have begun before are done, or nearly
        begun += 1
        return dispatch(experiment, sampler, weights, problems, stream, step=0)

    evaluation = evaluate(
        sample,
        experiment.task,
        run.problems[split],
        prompts_per_batch=settings.prompts_per_batch,
        bootstrap=settings.bootstrap,
        stop=run.stop.requested,
    )
    run.display.progress(phase, begun, batches, {})
    if evaluation is None:
        return None
    run.directory.write_evaluation(f"{step:06d}_{split.name.lower()}", evaluation.groups)
    scores = evaluation.scores
    run.directory.append_metrics(EvaluationLine(step, split.name, scores))
    first, last = scores.pass_at[0], scores.pass_at[-1]
    run.display.note(
        f"step {step}, {split.name.lower()}: pass@1 {first.value:.3f} [{first.low:.3f}, {first.high:.3f}], "
        f"pass@{scores.samples} {last.value:.3f}, {scores.mean_length:.1f} tokens"
    )
    return first.value


def _record(run: Run, step: int, cursor: int, sampled: int, successes: Successes) -> dict[str, Any]:
    """What a checkpoint holds beside the state."""
    return {
        "step": step,
        "cursor": cursor,
        "sampled_prompts": sampled,
        "successes": successes.record(),
        "seed": run.config.seed,
        "config": to_dict(run.config),
        "seconds": run.clock.read(),
    }
