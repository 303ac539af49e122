"""The training loop.

Sample a group of completions for each prompt from the current policy. Score them with a verifiable reward. Turn each
group's rewards into advantages, and drop the groups that carry no signal. Update the policy on what is left, and only
then look at the metrics of the step before.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Bool, Float

from grpo_jax.config import Config, ConfigError, to_dict
from grpo_jax.data import Problem, PromptSource, Split, encode_prompts
from grpo_jax.evaluation import Judged, evaluate, judge
from grpo_jax.processes import barrier, fetch, on_any_process, put
from grpo_jax.sampling import Counter, Sampler, Stream
from grpo_jax.training.batching import make_minibatches
from grpo_jax.training.checkpoints import Checkpoints
from grpo_jax.training.clock import Clock
from grpo_jax.training.display import Display, Silent
from grpo_jax.training.errors import Interrupted, TrainingError
from grpo_jax.training.experiment import Experiment, build, update_batch_shardings
from grpo_jax.training.interrupts import StopRequest
from grpo_jax.training.late_log import LateLog
from grpo_jax.training.run_directory import Phase, RunDirectory
from grpo_jax.training.statistics import readable, rollout_statistics
from grpo_jax.training.summary import summarize_run
from grpo_jax.training.warm_start import make_base_policy
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
) -> dict[str, Any]:
    """Runs a configuration from where its directory says it stands to its end, and returns its summary.

    Args:
      workdir: the run directory; see `RunDirectory`.
      display: where progress is told; nowhere if None.
      devices: to run on; all if None.

    Raises:
      ConfigError: before anything is computed or written, if the configuration cannot work here.
      Interrupted: after SIGTERM or Ctrl-C, when everything is saved; calling again continues.
      TrainingError: if updates are not finite, or if there was none at all.
    """
    display = display or Silent()
    experiment = build(config, devices)
    problems = {
        Split.TRAIN: experiment.task.problems(Split.TRAIN, config.task.train_problems),
        Split.VALIDATION: experiment.task.problems(Split.VALIDATION, config.evaluation.validation_problems),
        Split.TEST: experiment.task.problems(Split.TEST, config.evaluation.test_problems),
    }
    directory = RunDirectory(workdir, tensorboard=config.logging.tensorboard)
    _claim(directory, config)
    clock, keep = Clock(), config.checkpoint
    with StopRequest() as stop, closing(directory):
        base = make_base_policy(experiment, directory, clock, stop, display)
        with closing(
            Checkpoints(workdir / "checkpoints", keep_last=keep.keep_last, keep_best=keep.keep_best)
        ) as checkpoints:
            state = _train(Run(experiment, problems, directory, checkpoints, clock, stop, display), base)
    barrier("run finished")  # what the first process wrote is there for all
    if int(fetch(state.updates)) == 0:
        raise TrainingError(
            "no update was made: not one group carried signal; see the rewards in rollouts/, and make the task easier."
        )
    summary = summarize_run(config, directory.metrics(), clock.read(), updates=int(fetch(state.updates)))
    directory.write_json("summary.json", summary)
    return summary


def _train(run: Run, base: Params) -> TrainState:
    config, experiment, clock = run.config, run.experiment, run.clock
    state = experiment.init_state(base)
    saved = run.checkpoints.restore_latest(state)
    step = 0
    if saved:
        step, state = saved.step, saved.state
        clock.continue_from(saved.record["seconds"])
        run.display.note(f"continued at step {step} of {config.train.steps}")
    run.directory.rewind(Phase.TRAIN, step)
    evaluations = [line for line in run.directory.metrics() if line["kind"] == "evaluation"]
    evaluated = {(line["split"], line["step"]) for line in evaluations if line["step"] <= step}
    source = PromptSource(run.problems[Split.TRAIN], config.rollout.prompts_per_step, config.seed)
    log = LateLog(config, run.directory, clock, run.display, updates=int(fetch(state.updates)))

    while True:
        score = None
        for split in evaluations_due(config, step):
            if (split.name, step) not in evaluated and not run.stop.requested():
                log.flush()
                pass_at_1 = _evaluate(run, state.params, split, step)
                if split is Split.VALIDATION:  # nothing may be chosen by the test split
                    score = pass_at_1
        stopping, finished = run.stop.requested(), step == config.train.steps
        if stopping or finished or step % config.checkpoint.every == 0:
            log.flush()
            if not saved or step > saved.step:
                run.checkpoints.save(step, state, _record(run, step), score)
        if stopping:  # also at the last step, where evaluations may be missing
            raise Interrupted(f"{run.stop.name}: saved at step {step} of {config.train.steps}")
        if finished:
            return state

        step += 1
        with jax.transfer_guard("disallow"):
            problems = source.batch((step - 1) * config.rollout.prompts_per_step)
            sampling = _sample(experiment, experiment.sample, state.params, problems, Stream.TRAINING, step)
            with clock.phase("update"):
                jax.block_until_ready(state)  # the last update; the sampler is queued behind it
            with clock.phase("sampling"):
                rollouts = fetch(sampling)
            _check_policy(rollouts, step)
            with clock.phase("rewards"):
                judged = judge(experiment.task, problems, rollouts)
                rewards, scored = _rewards(judged)
                advantages = _advantages(experiment, rewards, scored)
            with clock.phase("update"):
                minibatches = _minibatches(experiment, state.params, base, rollouts, advantages)
                metrics = []
                for batch in minibatches:
                    state, of_minibatch = experiment.update(state, batch)
                    metrics.append(of_minibatch)
            log.push(step, rollout_statistics(rollouts, rewards, scored, advantages), metrics)
            if config.logging.rollouts_every and step % config.logging.rollouts_every == 0:
                run.directory.append_rollouts(step, readable(judged, rollouts, advantages))


def evaluations_due(config: Config, step: int) -> list[Split]:
    """The test split before and after training; the validation split then too, and on schedule."""
    ends = step in (0, config.train.steps)
    scheduled = config.evaluation.every and step % config.evaluation.every == 0
    return [Split.TEST] * ends + [Split.VALIDATION] * bool(config.evaluation.every and (ends or scheduled))


def _sample(
    experiment: Experiment, sampler: Sampler, params: Params, problems: Sequence[Problem], stream: Stream, step: int
) -> Rollouts:
    prompts = encode_prompts(experiment.task.tokenizer, problems, experiment.task.max_prompt_tokens)
    counter = Counter.of(experiment.config.seed, stream, step)
    return sampler(params, put(prompts, experiment.shardings.batch), put(counter, experiment.shardings.replicated))


def _check_policy(rollouts: Rollouts, step: int) -> None:
    if not np.isfinite(rollouts.logprobs).all():
        raise TrainingError(
            f"step {step}: the policy's log-probabilities are not finite; lower optimizer.learning_rate or "
            "optimizer.clip_norm, and start a new run with another --workdir."
        )


def _rewards(judged: Sequence[Judged]) -> tuple[Float[np.ndarray, "N G"], Bool[np.ndarray, "N G"]]:
    """Rewards, and which of them there are; one that is not a finite number is none."""
    rewards = np.array([[verdict.reward for verdict in one.verdicts] for one in judged], np.float32)
    scored = np.array([[verdict.scored for verdict in one.verdicts] for one in judged])
    return rewards, scored & np.isfinite(rewards)


def _advantages(
    experiment: Experiment, rewards: Float[np.ndarray, "N G"], scored: Bool[np.ndarray, "N G"]
) -> Float[np.ndarray, "N G"]:
    replicated = experiment.shardings.replicated
    return fetch(experiment.advantages(put(rewards, replicated), put(scored, replicated)))


def _minibatches(
    experiment: Experiment,
    params: Params,
    reference: Params,
    rollouts: Rollouts,
    advantages: Float[np.ndarray, "N G"],
) -> list[UpdateBatch]:
    """The minibatches of a step on the devices, with the log-probabilities that the objective asks for.

    All are scored before the first update, by the policy that the whole batch calls old.
    """
    config = experiment.config
    valid = (advantages != 0).any(axis=1)
    batches = []
    for host_batch in make_minibatches(
        rollouts,
        advantages,
        wanted=valid | (config.objective.kl_coef > 0),
        minibatches=config.train.minibatches,
        microbatch_groups=config.train.microbatch_groups,
        aggregation=experiment.objective.aggregation,
        denominator=config.objective.denominator,
    ):
        batch = put(host_batch, update_batch_shardings(host_batch, experiment.shardings))
        scores = {}
        if config.objective.old_logprobs == "trainer":
            scores["old_logprobs"] = experiment.score(params, batch)
        if config.objective.kl_coef:
            scores["reference_logprobs"] = experiment.score(reference, batch)
        batches.append(dataclasses.replace(batch, groups=dataclasses.replace(batch.groups, **scores)))
    return batches


def _evaluate(run: Run, params: Params, split: Split, step: int) -> float | None:
    """Evaluates on a split, writes it down, and returns pass@1; None if a stop was requested on the way.

    The keys do not depend on the step, so that two evaluations differ by the policy only.
    """
    experiment, settings = run.experiment, run.config.evaluation
    sampler, stream = {
        Split.VALIDATION: (experiment.sample_validation, Stream.VALIDATION),
        Split.TEST: (experiment.sample_test, Stream.TEST),
    }[split]

    def sample(problems: Sequence[Problem]) -> Rollouts | None:
        return None if run.stop.requested() else fetch(_sample(experiment, sampler, params, problems, stream, step=0))

    with run.clock.phase("evaluation"):
        evaluation = evaluate(
            sample,
            experiment.task,
            run.problems[split],
            prompts_per_batch=settings.prompts_per_batch,
            bootstrap=settings.bootstrap,
        )
    if evaluation is None:
        return None
    run.directory.write_lines(f"evaluation/{step:06d}_{split.name.lower()}.jsonl", evaluation.records)
    line = {"kind": "evaluation", "split": split.name, **evaluation.summary}
    run.directory.append_metrics(Phase.TRAIN, step, line)
    at_most = f"pass@{line['samples']}"
    low, high = line["interval"]["pass@1"]
    run.display.note(
        f"step {step}, {split.name.lower()}: pass@1 {line['pass@1']:.3f} [{low:.3f}, {high:.3f}], "
        f"{at_most} {line[at_most]:.3f}, {line['mean_length']:.1f} tokens"
    )
    return float(line["pass@1"])


def _record(run: Run, step: int) -> dict[str, Any]:
    """What a checkpoint holds beside the state."""
    return {
        "step": step,
        "consumed_prompts": step * run.config.rollout.prompts_per_step,
        "seed": run.config.seed,
        "config": to_dict(run.config),
        "seconds": run.clock.read(),
    }


def _claim(directory: RunDirectory, config: Config) -> None:
    """Makes the run directory this configuration's, or finds that it is already."""
    theirs, ours = directory.read_json("config.json"), to_dict(config)
    if theirs is not None and theirs != ours:
        raise ConfigError(
            f"--workdir={directory.path}: holds a run of another configuration ({_first_difference(theirs, ours)}); "
            "name another directory, or repeat the run's own command to continue it."
        )
    problem = None
    try:
        directory.create()
        if theirs is None:
            directory.write_json("config.json", ours)
    except ConfigError as error:
        problem = error
    if on_any_process(problem is not None):
        raise problem or ConfigError(f"--workdir={directory.path}: the first host cannot use it; see its message.")
    if on_any_process(directory.read_json("config.json") != ours):
        raise ConfigError(f"--workdir={directory.path}: not all hosts see it; name a directory that they share.")


def _first_difference(theirs: Any, ours: Any, path: str = "") -> str:
    if isinstance(theirs, dict) and isinstance(ours, dict):
        for name in [*theirs, *(set(ours) - set(theirs))]:
            if theirs.get(name) != ours.get(name):
                return _first_difference(theirs.get(name), ours.get(name), f"{path}.{name}" if path else name)
    return f"{path} is {theirs!r} there and {ours!r} here"
