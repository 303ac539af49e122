"""Evaluate a policy on suites: complete public test sets, with several samples of every problem.

config.json               the configuration, and where the policy comes from
provenance.json           digests of the inputs and a record of each start, as in a run
evaluation/SUITE.jsonl    a line for each problem, as in a run
suites.json               all scores; suites that it holds are not evaluated again
"""

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import jax

from grpo_jax.config import (
    ROUNDING,
    Config,
    ConfigError,
    QuestionsConfig,
    Recorded,
    SourceConfig,
    agreeing,
    counted,
    digest,
    read_recorded,
    to_dict,
)
from grpo_jax.data import Problem, Split, check_rows
from grpo_jax.data.sources import read_problems
from grpo_jax.data.tasks import Questions
from grpo_jax.evaluation import Evaluation, best_of_k_with_replacement, evaluate, right_of, warm
from grpo_jax.processes import barrier
from grpo_jax.runs.agreement import on_all, on_first
from grpo_jax.runs.claim import check_hosts, claim
from grpo_jax.runs.directory import RunDirectory
from grpo_jax.runs.ending import Interrupted, StopRequest, explain_full_disk, recorded
from grpo_jax.runs.inputs import Files, checkpoint_files, digest_files, read_inputs
from grpo_jax.runs.provenance import now
from grpo_jax.runs.record import provenance_of, recorded_date
from grpo_jax.runs.seals import SEAL
from grpo_jax.runs.starts import this_start
from grpo_jax.runs.suite_scores import EvaluatedPolicy, SuiteReport, SuiteScores
from grpo_jax.runs.versions import versions
from grpo_jax.sampling import SamplingWeights
from grpo_jax.suites import questions_of
from grpo_jax.training.base_policy import read_checkpoint
from grpo_jax.training.clock import Clock
from grpo_jax.training.display import Display, Silent
from grpo_jax.training.experiment import Experiment, build
from grpo_jax.training.problems import take
from grpo_jax.training.requests import evaluation_request
from grpo_jax.training.restore import read_config, restore


@explain_full_disk()
def evaluate_suites(
    config: Config,
    sources: Mapping[str, SourceConfig | None],
    workdir: Path,
    *,
    run: Path | None = None,
    best: bool = False,
    display: Display | None = None,
    devices: Sequence[jax.Device] | None = None,
) -> SuiteReport:
    """Evaluate a policy on every suite that its directory does not hold yet, and return the report of all.

    Args:
      config: how to sample and judge; the policy is its checkpoint, unless `run` is given.
      sources: the sources of the suites by name; None is the task's own test split (`evaluation.test_problems`).
      workdir: the directory of the results. It belongs to one policy and one configuration, in which only the fields
        marked `ROUNDING` may change.
      run: the directory of a run whose newest policy is evaluated with that run's tokenizer.
      best: evaluate the run's policy with the best validation instead.
      display: shows progress; nothing is shown if None.
      devices: the devices to run on; all if None.

    Raises:
      ConfigError: before anything is sampled or written, if the configuration, a suite, the run or the directory cannot
        be used.
      Interrupted: after SIGTERM or Ctrl-C. Calling this again continues with the suite that was being evaluated.
    """
    display = display or Silent()
    display.doing("preparing the policy and the problems")
    questions_of(config)
    config = config if run is None else _with_policy_of(config, run)
    directory = RunDirectory(workdir, writes=jax.process_index() == 0)
    date = on_first(lambda: (recorded_date(RunDirectory(run)) if run else None) or recorded_date(directory) or now())
    experiment, problems = on_all(lambda: _read(config, sources, devices, date))
    weights, version, policy, files = on_all(lambda: _policy(experiment, run, best, devices))
    experiment.engine.load(weights, version)
    del weights  # the engine has them
    hashes = {name: _hash(of_suite) for name, of_suite in problems.items()}
    ours = {"config": to_dict(config), "policy": policy.to_json()}
    inputs = read_inputs(config, experiment.task, {}, files, date)
    start = this_start(experiment.devices)
    check_hosts({**ours, "suites": hashes}, inputs, start)
    rounding = [f"config.{field}" for field in ROUNDING]
    claimed = claim(
        directory, ours, inputs, start, folders=("evaluation",), free=rounding, rounding=rounding, read=_recorded
    )
    for note in claimed.notes:
        display.note(note)
    made = False
    earlier = on_first(lambda: None if (found := directory.suite_report()) is None else found.to_json())
    report = SuiteReport.from_json(earlier) if earlier else SuiteReport(policy, digest(to_dict(config)))
    request = StopRequest(
        saving="this batch is finished, then the evaluation ends with every finished suite saved",
        losing="nothing else: the unfinished suite starts over in either case",
    )
    with (
        request as stop,
        closing(directory),
        recorded(directory),
        closing(experiment.task.reward),
        closing(experiment.engine),
    ):
        warm(experiment.task.reward)
        for name, of_suite in problems.items():
            if name in report.suites and report.suites[name].problems_hash == hashes[name]:
                display.note(f"{name}: is there already")
                continue
            clock = Clock()  # compilation, in the first suite, does not count as its time
            with clock.phase("evaluation"):
                evaluation = _evaluate(experiment, version, name, of_suite, stop, display)
            if evaluation is None:
                finished = sum(each in report.suites for each in problems)
                raise Interrupted(
                    f"{stop.name}: {finished} of {counted(len(problems), 'suite')} {agreeing(finished, 'is', 'are')} "
                    "done and saved"
                )
            made = True
            directory.write_evaluation(name, evaluation.groups)
            report.suites[name] = SuiteScores(
                scores=evaluation.scores,
                best=_best_with_replacement(evaluation),
                seconds=clock.read()["evaluation"],
                problems_hash=hashes[name],
                versions=versions(),
                code=start.code,
            )
            _write(directory, report, config)
    if made:  # again, because the record of this start now says how it ended
        _write(directory, report, config)
    barrier("suites evaluated")  # what the first process wrote is there for all
    return report


def _write(directory: RunDirectory, report: SuiteReport, config: Config) -> None:
    report.config_hash = digest(to_dict(config))
    report.provenance = provenance_of(directory)
    directory.write_suite_report(report)


def _with_policy_of(config: Config, run: Path) -> Config:
    """Return the configuration with the model and the tokenizer of a run."""
    with _of_run():
        theirs = read_config(run)
    if not isinstance(theirs.task, QuestionsConfig):
        raise ConfigError(
            f"--run={run}: its policy was trained on the task {theirs.task.name} and reads no other texts; "
            "name a run of the task 'questions'."
        )
    task = dataclasses.replace(questions_of(config), tokenizer=theirs.task.tokenizer)
    return dataclasses.replace(config, model=theirs.model, task=task)


@contextmanager
def _of_run() -> Iterator[None]:
    """Report what is missing in a run as a mistake in the flag that names it."""
    try:
        yield
    except ConfigError:
        raise
    except (FileNotFoundError, ValueError) as error:
        raise ConfigError(f"--run={error}.") from error


def _read(
    config: Config, sources: Mapping[str, SourceConfig | None], devices: Sequence[jax.Device] | None, date: str
) -> tuple[Experiment, dict[str, Sequence[Problem]]]:
    experiment = build(config, devices, date)
    return experiment, {name: _problems(experiment, name, source) for name, source in sources.items()}


def _recorded(values: Mapping[str, Any]) -> Recorded:
    """Return the completed config.json of an evaluation; see `read_recorded`."""
    if "config" not in values:  # the config.json of a run, which will be refused
        return Recorded(dict(values), "")
    found = read_recorded(values["config"])
    return Recorded({**values, "config": found.values}, found.note)


def _hash(problems: Sequence[Problem]) -> str:
    return digest({"problems": [[problem.prompt, problem.answer] for problem in problems]})


def _problems(experiment: Experiment, name: str, source: SourceConfig | None) -> Sequence[Problem]:
    task = experiment.task
    assert isinstance(task, Questions)
    if source is None:
        found = take(task, Split.TEST, experiment.config.evaluation.test_problems, "evaluation.test_problems")
    else:
        found = task.all_short_enough(list(read_problems(source, f"suites.{name}")), name)
    check_rows(task, found, task.prompt_tokens(found), experiment.engine.capabilities.vocab_size)
    return found


def _policy(
    experiment: Experiment, run: Path | None, best: bool, devices: Sequence[jax.Device] | None
) -> tuple[SamplingWeights, int, EvaluatedPolicy, Files]:
    """Return the weights for the engine and their version, where they come from, and digests of their files."""
    config = experiment.config
    if run is None:
        weights = experiment.programs.policy_weights(read_checkpoint(experiment))
        return weights, 0, EvaluatedPolicy(config.model.checkpoint), checkpoint_files(config)
    with _of_run():
        _, restored = restore(run, devices, config.mesh, best=best, policy_only=True)
    files = digest_files(run / "checkpoints" / str(restored.step), [SEAL])  # the checksums of the checkpoint's data
    weights = experiment.programs.policy_weights(restored.params)
    return weights, restored.step, EvaluatedPolicy(run=str(run), step=restored.step), files


def _evaluate(
    experiment: Experiment,
    version: int,
    name: str,
    problems: Sequence[Problem],
    stop: StopRequest,
    display: Display,
) -> Evaluation | None:
    """Evaluate on a suite as a run evaluates its test split; return None if a stop was requested meanwhile."""
    return evaluate(
        experiment.engine,
        experiment.task,
        problems,
        evaluation_request(experiment.config, Split.TEST, version=version),
        bootstrap=experiment.config.evaluation.bootstrap,
        stop=stop.requested,
        progress=lambda done: display.progress(name, done, len(problems), {}),
    )


def _best_with_replacement(evaluation: Evaluation) -> float:
    n = evaluation.scores.samples
    if not evaluation.scores.mean.known:
        return math.nan
    correct = right_of(evaluation.groups).sum(axis=1)
    return float(best_of_k_with_replacement(correct, n, n).mean())
