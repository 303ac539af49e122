"""Examine a configuration on the present machine: gather the evidence that checks need, and apply them."""

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import jax

from grpo_jax.config import Config, ConfigError
from grpo_jax.data import Problem, PromptSource, Split, pretrained_tokenizer
from grpo_jax.data.tasks import Questions
from grpo_jax.doctor import answers, memory, problems, samples, texts, written
from grpo_jax.doctor.findings import (
    CONFIGURATION,
    MEMORY,
    PROBLEMS,
    PROMPTS,
    REWARD,
    SAMPLES,
    Check,
    Diagnosis,
    Section,
    Tokens,
    look,
    refused,
    warning,
)
from grpo_jax.evaluation import unscored_of, warm
from grpo_jax.objectives import has_ratio
from grpo_jax.policy import trained_of
from grpo_jax.processes import fetch
from grpo_jax.rewards import WorkerError
from grpo_jax.runs.directory import RunDirectory
from grpo_jax.runs.ending import StopRequest, TrainingError
from grpo_jax.runs.starts import this_start
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
from grpo_jax.types import Params, Rollouts, TrainState

ENCODED = 2048  # prompts; a million would take minutes
ROLLOUTS = 256  # at least, in whole steps
STEPS = 2  # at least: the first one compiles
RECORDED = 16  # completions whose tokens a diagnosis keeps


def examine(
    config: Config,
    display: Display | None = None,
    devices: Sequence[jax.Device] | None = None,
    *,
    samples_too: bool = True,
    recorded: Sequence[Tokens] = (),
) -> Diagnosis:
    """Return all findings about a configuration. No run directory is read or written.

    Sections whose evidence cannot be gathered are named instead, for example those after a mistake that every command
    refuses.

    Args:
      display: shows what is being done; nothing is shown if None.
      devices: to run on; all if None.
      samples_too: whether to make or read the policy, compile the programs of a step, and sample. This may take long.
      recorded: the tokens of an earlier diagnosis, to compare with.
    """
    found, tokens = list[Section](), list[Tokens]()
    with _logged() as told:

        def add(section: Section) -> None:
            """Add a section, with what was logged while its evidence was gathered."""
            found.append(replace(section, findings=[*section.findings, *map(warning, told)]))
            told.clear()

        try:
            for evidence, checks, name in _evidence(config, display or Silent(), devices, samples_too, recorded):
                add(look(name, checks, evidence))
                tokens += evidence.tokens if isinstance(evidence, samples.Sampled) else []
        except (ConfigError, TrainingError, WorkerError, EngineError) as mistake:
            add(refused(mistake))
    return Diagnosis.of(found, this_start(devices or jax.devices()), tokens)


def _evidence(
    config: Config,
    display: Display,
    devices: Sequence[jax.Device] | None,
    samples_too: bool,
    recorded: Sequence[Tokens],
) -> Iterator[tuple[Any, Sequence[Check[Any]], str]]:
    """Yield the evidence of each section, with the checks that need it and its name."""
    display.doing("reading the task")
    experiment = build(config, devices)
    task = experiment.task
    with closing(task.reward) as reward, closing(experiment.engine):
        check_engine(config, experiment.engine.capabilities)
        by_split = problems_of(config, task)
        train = by_split[Split.TRAIN]
        ratio = has_ratio(experiment.programs.objective, config.rollout.group_size)
        yield _written(experiment, train, ratio), written.CHECKS, CONFIGURATION
        yield _texts(experiment, by_split), texts.CHECKS, PROMPTS
        yield problems.Problems(config, by_split), problems.CHECKS, PROBLEMS
        display.doing("trying the reward")
        warm(reward)
        yield answers.try_reward(config, task, train), answers.CHECKS, REWARD
        if samples_too:
            display.doing("compiling the programs of a step")
            yield memory.needs_of(experiment), memory.CHECKS, MEMORY
            yield _sampled(experiment, train, ratio, recorded, display), samples.CHECKS, SAMPLES


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


def _written(experiment: Experiment, train: Sequence[Problem], ratio: bool) -> written.Written:
    policy = experiment.programs.policy
    return written.Written(
        config=experiment.config,
        parameters=sum(leaf.size for leaf in jax.tree.leaves(policy.shapes())),
        tied_head=policy.architecture.tied_head,
        platform=experiment.programs.mesh.devices.flat[0].platform,
        training_problems=len(train),
        has_ratio=ratio,
    )


def _texts(experiment: Experiment, by_split: Mapping[Split, Sequence[Problem]]) -> texts.Texts:
    task = experiment.task
    asked = [problem for split in by_split.values() for problem in list(split[:ENCODED])]
    return texts.Texts(
        config=experiment.config,
        tokenizer=pretrained_tokenizer(task),
        stop_tokens=task.stop_tokens,
        embeddings=experiment.programs.policy.architecture.vocab_size,
        rows=task.prompt_tokens(asked),
        conversation=task.conversation() if isinstance(task, Questions) else None,
    )


def _sampled(
    experiment: Experiment, train: Sequence[Problem], ratio: bool, recorded: Sequence[Tokens], display: Display
) -> samples.Sampled:
    """Sample the first steps of the run with the base policy, update it twice, and return what was seen."""
    config, programs, engine = experiment.config, experiment.programs, experiment.engine
    clock = Clock()
    with TemporaryDirectory() as folder:
        params = make_base_policy(experiment, RunDirectory(Path(folder)), clock, StopRequest(), display)
    params = programs.adapt(params)
    reference = trained_of(params) if programs.objective.needs_reference else None
    state = programs.init_state(params)
    del params
    display.doing("sampling")
    before = unscored_of(experiment.task.reward)
    engine.load(programs.sampling_weights(state.params), version=0)
    steps, seconds_sampling = _first_steps(experiment, train, clock)
    engine.unload()
    display.doing("updating")
    measured, seconds_update = _updates(experiment, state, reference, steps, clock)
    lengths = sum(collected.rollouts.completion_lengths.sum() for collected in steps)
    return samples.Sampled(
        config=config,
        groups=[group for collected in steps for group in collected.judged],
        signal=[bool(one) for collected in steps for one in collected.signal],
        entropy=float(-sum(collected.rollouts.logprobs.sum() for collected in steps) / lengths),
        vocabulary=min(tokens_of(experiment.task), programs.policy.architecture.vocab_size),
        unscored=unscored_of(experiment.task.reward) - before,
        has_ratio=ratio,
        measured=measured,
        seconds_sampling=seconds_sampling,
        seconds_update=seconds_update,
        tokens=_first_tokens(steps[0].rollouts),
        recorded=recorded,
    )


def _first_steps(experiment: Experiment, train: Sequence[Problem], clock: Clock) -> tuple[list[Collected], float]:
    """Return the groups of the first steps, as the policy in the engine samples them, and the seconds of the last."""
    rollout = experiment.config.rollout
    source = PromptSource(train, experiment.config.seed)
    visits = Visits.empty(rollout.success_half_life, rollout.max_new_tokens)
    steps: list[Collected] = []
    seconds = [0.0]  # of sampling and rewards, after each step
    cursor, sampled = 0, 0
    while len(steps) < STEPS or sampled < ROLLOUTS:
        cursor = source.start_of_step(cursor, rollout.prompts_per_step)
        with clock.phase("rewards"):
            steps.append(
                begin_collecting(experiment, source, visits, clock, cursor=cursor, step=len(steps) + 1, version=0)()
            )
        cursor += steps[-1].consumed
        sampled += steps[-1].outcomes.rewards.size
        seconds.append(sum(clock.read()[phase] for phase in ("sampling", "rewards")))
    return steps, seconds[-1] - seconds[-2]


def _updates(
    experiment: Experiment, state: TrainState, reference: Params | None, steps: Sequence[Collected], clock: Clock
) -> tuple[Mapping[str, float], float]:
    """Return the metrics of the first of some updates, and the seconds of the last; none and NaN without any signal.

    A later update is of a policy that has moved, and the first one compiles. The state is donated.
    """
    learned_from = [collected for collected in steps if collected.signal.any()]
    measured: Mapping[str, float] = {}
    seconds = [0.0]  # after each update
    for collected in (learned_from * STEPS)[:STEPS]:
        with clock.phase("update"):
            learned = learn(experiment, state, reference, collected, step=1)
            state = jax.block_until_ready(learned.state)  # so that the seconds are those of the devices
        measured = measured or results(fetch(learned.metrics))
        seconds.append(clock.read()["update"])
    return measured, seconds[-1] - seconds[-2] if learned_from else math.nan


def _first_tokens(rollouts: Rollouts) -> list[Tokens]:
    """Return the first completion of the first prompts."""
    return [
        Tokens(
            prompt=prompt[:prompt_length].tolist(),
            completion=completions[0, : lengths[0]].tolist(),
            logprobs=[round(value, 6) for value in logprobs[0, : lengths[0]].tolist()],
        )
        for prompt, prompt_length, completions, lengths, logprobs in zip(
            rollouts.prompt_tokens[:RECORDED],
            rollouts.prompt_lengths,
            rollouts.completion_tokens,
            rollouts.completion_lengths,
            rollouts.logprobs,
            strict=False,
        )
    ]
