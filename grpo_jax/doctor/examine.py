"""Examine a configuration on the present machine: gather the evidence that checks need, and apply them."""

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import jax

from grpo_jax.config import Config, ConfigError
from grpo_jax.data import Problem, PromptSource, Split
from grpo_jax.data.tasks import Questions
from grpo_jax.doctor import answers, memory, problems, samples, texts, written
from grpo_jax.doctor.findings import (
    CONFIGURATION,
    MEMORY,
    PROBLEMS,
    PROMPTS,
    REWARD,
    SAMPLES,
    Diagnosis,
    Section,
    look,
    refused,
    warning,
)
from grpo_jax.evaluation import unscored_of, warm
from grpo_jax.policy import trained_of
from grpo_jax.processes import fetch
from grpo_jax.rewards import WorkerError
from grpo_jax.runs.directory import RunDirectory
from grpo_jax.runs.ending import StopRequest, TrainingError
from grpo_jax.sampling import EngineError
from grpo_jax.training.base_policy import make_base_policy
from grpo_jax.training.clock import Clock
from grpo_jax.training.collect import Collected, begin_collecting
from grpo_jax.training.display import Display, Silent
from grpo_jax.training.experiment import Experiment, build, tokens_of
from grpo_jax.training.loop import learn
from grpo_jax.training.metrics import results
from grpo_jax.training.problems import problems_of
from grpo_jax.training.requests import check_engine
from grpo_jax.training.visits import Visits

ENCODED = 2048  # prompts; a million would take minutes
ROLLOUTS = 256  # at least, in whole steps
STEPS = 2  # at least: the first one compiles


def examine(
    config: Config,
    display: Display | None = None,
    devices: Sequence[jax.Device] | None = None,
    *,
    samples_too: bool = True,
) -> Diagnosis:
    """Return all that checks find out about a configuration. No run directory is read or written.

    Sections whose evidence cannot be had are named instead, for example those after a mistake that every command
    refuses.

    Args:
      display: shows what is being done; nothing is shown if None.
      devices: to run on; all if None.
      samples_too: whether to make or read the policy, compile the programs of a step, and sample. This may take long.
    """
    found: list[Section] = []
    try:
        found.extend(_sections(config, display or Silent(), devices, samples_too))
    except (ConfigError, TrainingError, WorkerError, EngineError) as mistake:
        found.append(refused(mistake))
    return Diagnosis.of(found)


def _sections(
    config: Config, display: Display, devices: Sequence[jax.Device] | None, samples_too: bool
) -> Iterator[Section]:
    with _logged() as told:

        def section(name: str, checks: Sequence[Any], evidence: Any) -> Section:
            """Apply checks, and add what was logged while their evidence was gathered."""
            looked = look(name, checks, evidence)
            logged, told[:] = [warning(sentence) for sentence in told], []
            return Section(name, looked.looked_at, [*looked.findings, *logged])

        display.doing("reading the task")
        experiment = build(config, devices)
        task = experiment.task
        with closing(task.reward) as reward, closing(experiment.engine):
            check_engine(config, experiment.engine.capabilities)
            by_split = problems_of(config, task)
            yield section(CONFIGURATION, written.CHECKS, _written(experiment, by_split))
            yield section(PROMPTS, texts.CHECKS, _texts(experiment, by_split))
            yield section(PROBLEMS, problems.CHECKS, problems.Problems(config, by_split))
            display.doing("trying the reward")
            warm(reward)
            trials = answers.try_reward(task, by_split[Split.TRAIN], config.rollout.max_new_tokens)
            yield section(REWARD, answers.CHECKS, trials)
            if samples_too:
                display.doing("compiling the programs of a step")
                yield section(MEMORY, memory.CHECKS, memory.needs_of(experiment))
                yield section(SAMPLES, samples.CHECKS, _sampled(experiment, by_split[Split.TRAIN], display))


@contextmanager
def _logged() -> Iterator[list[str]]:
    """Collect the warnings that this package logs, instead of printing them."""
    told: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            cause = record.exc_info[1] if record.exc_info else None
            clause = f" {type(cause).__name__}: {cause}" if cause else ""
            told.append(f"{record.getMessage()}{clause}")

    logger, collector = logging.getLogger(__name__.partition(".")[0]), Collector(logging.WARNING)
    propagated, logger.propagate = logger.propagate, False
    logger.addHandler(collector)
    try:
        yield told
    finally:
        logger.removeHandler(collector)
        logger.propagate = propagated


def _written(experiment: Experiment, by_split: Mapping[Split, Sequence[Problem]]) -> written.Written:
    policy = experiment.programs.policy
    return written.Written(
        config=experiment.config,
        parameters=sum(leaf.size for leaf in jax.tree.leaves(policy.shapes())),
        tied_head=policy.architecture.tied_head,
        platform=experiment.programs.mesh.devices.flat[0].platform,
        training_problems=len(by_split[Split.TRAIN]),
    )


def _texts(experiment: Experiment, by_split: Mapping[Split, Sequence[Problem]]) -> texts.Texts:
    task = experiment.task
    asked = [problem for split in by_split.values() for problem in list(split[:ENCODED])]
    return texts.Texts(
        config=experiment.config,
        tokenizer=task.tokenizer,
        stop_tokens=task.stop_tokens,
        embeddings=experiment.programs.policy.architecture.vocab_size,
        rows=task.prompt_tokens(asked),
        conversation=task.conversation() if isinstance(task, Questions) else None,
    )


def _sampled(experiment: Experiment, train: Sequence[Problem], display: Display) -> samples.Sampled:
    """Sample the first steps of the run with the base policy, and update it twice."""
    config, programs, engine = experiment.config, experiment.programs, experiment.engine
    clock, rollout = Clock(), config.rollout
    with TemporaryDirectory() as place:
        params = make_base_policy(experiment, RunDirectory(Path(place)), clock, StopRequest(), display)
    params = programs.adapt(params)
    reference = trained_of(params) if programs.objective.needs_reference else None
    state = programs.init_state(params)
    del params
    display.doing("sampling")
    before = unscored_of(experiment.task.reward)
    source, visits = PromptSource(train, config.seed), Visits.begin(rollout.success_half_life, rollout.max_new_tokens)
    steps: list[Collected] = []
    seconds = [0.0]  # of sampling and rewards, after each step
    cursor, sampled = 0, 0
    engine.load(programs.sampling_weights(state.params), version=0)
    while len(steps) < STEPS or sampled < ROLLOUTS:
        cursor = source.begin(cursor, rollout.prompts_per_step)
        with clock.phase("rewards"):
            steps.append(
                begin_collecting(experiment, source, visits, clock, cursor=cursor, step=len(steps) + 1, version=0)()
            )
        cursor += len(steps[-1].judged)
        sampled += steps[-1].rewards.size
        seconds.append(sum(clock.read()[phase] for phase in ("sampling", "rewards")))
    engine.unload()

    display.doing("updating")
    learned_from = [collected for collected in steps if collected.signal.any()]
    measured: Mapping[str, float] = {}
    updates = [0.0]
    for collected in (learned_from * STEPS)[:STEPS]:
        with clock.phase("update"):
            learned = jax.block_until_ready(learn(experiment, state, reference, collected, step=1))
        state = learned.state
        measured = measured or results(fetch(learned.metrics))  # the later update is of a policy that has moved
        updates.append(clock.read()["update"])
    lengths = sum(collected.rollouts.completion_lengths.sum() for collected in steps)
    return samples.Sampled(
        config=config,
        groups=[group for collected in steps for group in collected.judged],
        signal=[bool(one) for collected in steps for one in collected.signal],
        entropy=float(-sum(collected.rollouts.logprobs.sum() for collected in steps) / lengths),
        vocabulary=min(tokens_of(experiment.task), programs.policy.architecture.vocab_size),
        unscored=unscored_of(experiment.task.reward) - before,
        measured=measured,
        seconds_sampling=seconds[-1] - seconds[-2],
        seconds_update=updates[-1] - updates[-2] if learned_from else math.nan,
    )
