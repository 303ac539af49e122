"""Start a run, or continue it from its directory, and train to the end."""

import dataclasses
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from pathlib import Path

import jax

from grpo_jax.config import (
    CHANGEABLE_FREELY,
    CONTINUABLE,
    ROUNDING,
    Config,
    ConfigError,
    OwnTaskConfig,
    blaming,
    counted,
    differing,
    digest,
    obstacle,
    read_recorded,
    to_dict,
)
from grpo_jax.data import Demonstrable, Problem, Split, check_rows, prompt_prefix
from grpo_jax.evaluation import try_reward, warm
from grpo_jax.files import CONFIG_FILE, SUMMARY_FILE
from grpo_jax.processes import barrier, by_all, fetch, waited
from grpo_jax.rewards import WorkerError
from grpo_jax.runs.agreement import on_all, on_first
from grpo_jax.runs.checkpoints import Checkpoints
from grpo_jax.runs.claim import check_hosts, claim
from grpo_jax.runs.directory import RunDirectory, kept_steps
from grpo_jax.runs.ending import StopRequest, TrainingError, explain_full_disk, recorded
from grpo_jax.runs.fork import Origin, fork
from grpo_jax.runs.inputs import Files, Inputs, checkpoint_files, read_inputs
from grpo_jax.runs.lines import Measured, RunMetrics
from grpo_jax.runs.provenance import now
from grpo_jax.runs.record import provenance_of, recorded_date
from grpo_jax.runs.starts import device_peaks, peak_bytes, this_start
from grpo_jax.runs.summary import ProcessUse, Summary, summarize_run
from grpo_jax.runs.together import FailureWatch
from grpo_jax.sampling import EngineError
from grpo_jax.tracking import TENSORBOARD, Trackers, check_trackers
from grpo_jax.training.clock import Clock
from grpo_jax.training.compile_ahead import compiling_ahead
from grpo_jax.training.display import Display, Noticed, Silent
from grpo_jax.training.experiment import Experiment, build, lanes_of_step
from grpo_jax.training.loop import run_steps
from grpo_jax.training.problems import problems_of, tell_leaks
from grpo_jax.training.profiler import PROFILE, Profiler
from grpo_jax.training.requests import check_engine
from grpo_jax.training.run import Run
from grpo_jax.training.supervised import PROBLEMS, demonstrations

FORESEEN = (TrainingError, WorkerError, EngineError)  # errors by which training may fail; their texts are sentences


def train_config(
    config: Config,
    workdir: Path,
    display: Display | None = None,
    devices: Sequence[jax.Device] | None = None,
    origin: Origin | None = None,
    profile: range = range(0),
    watch: FailureWatch | None = None,
) -> Summary:
    """Build an experiment from a configuration, train it, and return the run's summary, as `launch/main.py` does.

    For a finished run, nothing is built and nothing changes. Otherwise see `train`.

    Args:
      devices: the devices to run on; all if None.
      origin: the run and step to fork from, if this run is a fork; see `fork`.
      profile: the steps that a profiler traces.
      watch: as for `train`.
    """
    clock, directory = Clock(), _directory(workdir, config)
    with _watched(watch, workdir, config, display) as display:
        if summary := _summary_if_finished(directory, config, display):
            return summary
        check_trackers(config)
        notes = on_first(lambda: fork(directory, config, origin) if origin else [])
        display.doing("preparing the task and the programs")
        date = on_first(lambda: recorded_date(directory) or now())
        experiment = on_all(lambda: build(config, devices, date))
        for note in notes:
            display.note(note)
        return _train(experiment, directory, clock, display, profile)


def train(
    experiment: Experiment, workdir: Path, display: Display | None = None, watch: FailureWatch | None = None
) -> Summary:
    """Train an experiment to its end, continuing from its directory, and return the run's summary.

    The experiment may have another engine, task or reward than its configuration names (`dataclasses.replace`). The
    engine and the reward are closed at the end.

    A finished run stays as it is. The configuration may differ from that of the directory in the fields that the schema
    marks accordingly (`grpo_jax.config.continuing`). The inputs must be those with which the run was begun.

    If there is no progress for `train.stuck_after` seconds, this process writes where its threads are, and ends with
    exit code 124. If it is one of several, an error on one of them ends all of them; see `FailureWatch`.

    Args:
      workdir: the run directory; see `RunDirectory`.
      display: shows progress; nothing is shown if None.
      watch: a watch that the caller has begun, which ends this process if it is stuck or if another one fails; None:
        one is begun here.

    Raises:
      ConfigError: before anything is computed or written, if the configuration cannot work here.
      Interrupted: after SIGTERM or Ctrl-C, when everything is saved. Calling this again continues the run.
      TrainingError: if the training cannot go on, for one of the reasons in `run_steps`, or if it made no update.
      WorkerError: if the workers of a reward fail.
      EngineError: if the rollout engine cannot sample.
    """
    clock, directory = Clock(), _directory(workdir, experiment.config)
    with _watched(watch, workdir, experiment.config, display) as display:
        if summary := _summary_if_finished(directory, experiment.config, display):
            return summary
        check_trackers(experiment.config)
        return _train(experiment, directory, clock, display)


@contextmanager
def _watched(watch: FailureWatch | None, workdir: Path, config: Config, display: Display | None) -> Iterator[Display]:
    """Yield a display that reports progress to a watch; to a new one if the caller has begun none."""
    with nullcontext(watch) if watch else FailureWatch(workdir, config.train.stuck_after, FORESEEN) as begun:
        yield Noticed(display or Silent(), begun.progressed)


@explain_full_disk()
def _train(
    experiment: Experiment, directory: RunDirectory, clock: Clock, display: Display, profile: range = range(0)
) -> Summary:
    """Check an experiment, claim its directory, train to the end, and write the summary."""
    config = experiment.config
    problems, inputs = on_all(lambda: _prepare(experiment))
    start = this_start(experiment.devices)
    check_hosts(to_dict(config), inputs, start)
    claimed = claim(
        directory,
        to_dict(config),
        inputs,
        start,
        free=CONTINUABLE,
        read=read_recorded,
        veto=lambda theirs: obstacle(theirs, config, max(kept_steps(directory.path / "checkpoints"), default=0)),
    )
    for note in claimed.notes:
        display.note(note)
    names = config.logging.trackers if directory.writes else ()
    with closing(directory), closing(Trackers(names, directory.path, display.note)) as trackers:
        if earlier := directory.summary():  # the run is extended: this is the summary of its first part
            part = earlier.config_hash if earlier.steps is None else f"{earlier.steps:06d}"
            directory.move(SUMMARY_FILE, f"summary_{part}.json")
        with recorded(directory):
            summary = _run(experiment, problems, directory, clock, display, profile, trackers)
        summary = dataclasses.replace(summary, provenance=provenance_of(directory))
        directory.write_summary(summary)
    return summary


def _directory(workdir: Path, config: Config) -> RunDirectory:
    return RunDirectory(workdir, writes=jax.process_index() == 0, tensorboard=TENSORBOARD in config.logging.trackers)


def _summary_if_finished(directory: RunDirectory, config: Config, display: Display) -> Summary | None:
    """Say that a run is finished, and return its summary on every process; None if there is something to do."""
    values = on_first(lambda: None if (found := _finished_summary(directory, config)) is None else found.to_json())
    if values is None:
        return None
    display.note(f"{directory.path}: the run is finished and stays as it is")
    return Summary.from_json(values)


def _finished_summary(directory: RunDirectory, config: Config) -> Summary | None:
    """Return the summary of a run that has come to its end under this configuration; None if it has not.

    Fields that decide no result may have changed since: they could only affect steps that are still to come.
    """
    summary, theirs = directory.summary(), directory.read_json(CONFIG_FILE)
    if summary is None or theirs is None:
        return None
    if differing(directory.config(), to_dict(config), free=(*CHANGEABLE_FREELY, *ROUNDING)):
        return None
    if summary.steps is None:  # written by an earlier version
        return summary if summary.config_hash == digest(theirs) else None
    return summary if summary.steps == config.train.steps else None


def _prepare(experiment: Experiment) -> tuple[dict[Split, Sequence[Problem]], Inputs]:
    """Check an experiment, and return its problems and the digests of all that was read for it."""
    _check_parts(experiment)
    policy, settings = checkpoint_files(experiment.config), experiment.config.task
    guard: AbstractContextManager[None] = nullcontext()
    if isinstance(settings, OwnTaskConfig):
        parts = "its problems, prompt_tokens or demonstrations cannot be used"
        guard = blaming(f"task.factory={settings.factory!r}: {parts}")
    with guard:
        problems, inputs = _read(experiment, policy)
        _try_task(experiment, problems)
    return problems, inputs


def _check_parts(experiment: Experiment) -> None:
    """Raise ConfigError if the engine or the task, which may have been replaced, does not fit the experiment."""
    check_engine(experiment.config, experiment.engine.capabilities)
    if experiment.programs.policy.prompt_prefix not in ((), prompt_prefix(experiment.task)):
        raise ConfigError(
            "task: is not the one that the experiment was built for, whose prompt_prefix the policy reads before every "
            "prompt; give this task the same prompt_prefix, or set task.share_prefix to false."
        )


def _read(experiment: Experiment, policy: Files) -> tuple[dict[Split, Sequence[Problem]], Inputs]:
    """Return the problems of an experiment, whose prompts are checked, and the digests of all that was read for it.

    Args:
      policy: the files of its checkpoint.
    """
    config, task = experiment.config, experiment.task
    problems = problems_of(config, task)
    tell_leaks(problems)
    embeddings = experiment.engine.capabilities.vocab_size
    inputs = read_inputs(
        config,
        task,
        problems,
        policy,
        experiment.date,
        look=lambda of_split, rows: check_rows(task, of_split, rows, embeddings),
    )
    return problems, inputs


def _try_task(experiment: Experiment, problems: Mapping[Split, Sequence[Problem]]) -> None:
    """Raise an error if the warm start's prompts cannot be read, or if parts of the user's own task do not work."""
    config, task = experiment.config, experiment.task
    own = isinstance(config.task, OwnTaskConfig)
    if config.warm_start and prompt_prefix(task):  # it learns from problems of a split of its own
        shown = task.problems(Split.WARM_START, PROBLEMS, at_most=True)
        check_rows(task, shown, task.prompt_tokens(shown), experiment.engine.capabilities.vocab_size)
    if config.warm_start and own and isinstance(task, Demonstrable):
        demonstrations(config.warm_start, task, config.rollout.max_new_tokens)(0)
    if own:
        try_reward(task, problems[Split.TRAIN][0], config.rollout.group_size)


def _run(
    experiment: Experiment,
    problems: Mapping[Split, Sequence[Problem]],
    directory: RunDirectory,
    clock: Clock,
    display: Display,
    profile: range,
    trackers: Trackers,
) -> Summary:
    """Train to the end, and return the summary. Raise TrainingError if no update was made."""
    config = experiment.config
    keep = config.checkpoint
    continued = bool(kept_steps(directory.path / "checkpoints"))
    lanes = lanes_of_step(experiment)
    with _stop_request(config) as stop, closing(experiment.task.reward), closing(experiment.engine):
        warm(experiment.task.reward)
        if lanes:
            display.note(
                f"a step decodes {counted(lanes, 'completion')} at once (rollout.lanes={config.rollout.lanes})"
            )
        with (
            closing(
                Checkpoints(directory.path / "checkpoints", keep_last=keep.keep_last, keep_best=keep.keep_best)
            ) as checkpoints,
            compiling_ahead(experiment, problems, continued=continued) as compiled,
            closing(Profiler(profile, directory.path / PROFILE, display.note)) as profiler,
        ):
            state = run_steps(
                Run(experiment, problems, directory, checkpoints, clock, stop, display, compiled, profiler, trackers)
            )
    barrier("run finished")  # what the first process wrote is there for all
    updates = int(fetch(state.updates))
    if updates == 0:
        raise TrainingError(
            "no update was made: not one group carried signal; see the rewards in rollouts/, and make the task easier."
        )
    return _summarize(experiment, directory.metrics(), clock, updates, lanes)


def _summarize(experiment: Experiment, metrics: RunMetrics, clock: Clock, updates: int, lanes: int) -> Summary:
    """Return the summary of a run that has come to its end, with the time and the memory of each process."""
    tests = {line.step: line.scores for line in metrics.of_split(Split.TEST)}
    seconds, devices = clock.read(), experiment.devices
    peaks = peak_bytes(devices)
    slow = [line.measured for line in metrics.training if line.measured.get(Measured.SLOWEST) == jax.process_index()]
    use = ProcessUse(
        socket.gethostname(),
        seconds,
        round(waited(), 3),
        peaks["host"],
        device_peaks(devices),
        slowest_steps=len(slow),
        awaited=round(sum(measured[Measured.SLOWEST_SECONDS] for measured in slow), 3),
    )
    uses = [ProcessUse.from_json(values) for values in by_all(use.to_json, TrainingError)]
    return dataclasses.replace(
        summarize_run(experiment.config, metrics.training, tests, seconds, updates),
        seconds_to_first_step=clock.to_first_step,
        peak_bytes=peaks,
        lanes=lanes,
        processes=uses if len(uses) > 1 else None,
    )


def _stop_request(config: Config) -> StopRequest:
    every = config.checkpoint.every
    return StopRequest(
        saving="the newest finished step is saved, then the run ends",
        losing=f"the steps since the last checkpoint (every {every})",
    )
