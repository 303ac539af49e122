"""The analysis of a checkpoint: restore it, sample rollouts, compute their gradients, and statistics of these."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jax

from grpo_jax.analysis.record import statistics
from grpo_jax.analysis.rollouts import check_noise, check_weights, sample
from grpo_jax.analysis.subgroups import group_sizes
from grpo_jax.analysis.vectors import rollout_vectors
from grpo_jax.config import ConfigError
from grpo_jax.objectives import AGGREGATIONS
from grpo_jax.policy import trained_of
from grpo_jax.runs.directory import RunDirectory
from grpo_jax.runs.gradients import AnalysisProvenance, GradientAnalysis
from grpo_jax.runs.record import provenance_of
from grpo_jax.runs.starts import this_start
from grpo_jax.training import Display, Experiment, Silent, restore
from grpo_jax.training.restore import check_problems, read_config

GIB = 2**30


@dataclass(frozen=True)
class Settings:
    """How much is sampled and computed."""

    prompts: int = 512  # N
    samples: int = 32  # S, of each
    memory_gb: float = 4.0  # for the vectors, on the host; they are kept whole if they fit
    sketch: int = 8192  # entries of a sketch, if they do not fit
    cuts: int = 32  # R: ways to cut a prompt's rollouts into groups; results are averaged over them
    resamples: int = 4000  # of the prompts

    def __post_init__(self) -> None:
        sizes = group_sizes(self.samples)
        if not sizes or self.samples % sizes[-1]:
            raise ConfigError(
                f"--samples={self.samples}: the rollouts of each prompt are cut into groups; set it to 4, 8, 16, or a "
                "larger multiple of 16."
            )
        for flag, value, least in (("prompts", self.prompts, 8), ("sketch", self.sketch, 16)):
            if value < least:
                raise ConfigError(f"--{flag}={value}: must be at least {least}.")
        if not 0 < self.memory_gb < math.inf:
            raise ConfigError(f"--memory-gb={self.memory_gb}: must be above 0; it limits the memory for the gradients.")

    def size_for(self, parameters: int) -> int | None:
        """Return the entries of a sketch, or None if whole vectors fit (or are no longer than it).

        Raises:
          ConfigError: if sketches do not fit either.
        """
        room = self.memory_gb * GIB / (4 * self.prompts * self.samples)
        if parameters <= room:
            return None
        size = min(self.sketch, parameters)
        if size > room:
            raise ConfigError(
                f"--memory-gb={self.memory_gb:g}: {self.prompts} x {self.samples} sketches of {size} numbers take "
                f"{4 * self.prompts * self.samples * size / GIB:.2f} GiB; raise it, or lower --sketch or --prompts."
            )
        return None if size == parameters else size


def analyse(
    workdir: Path,
    settings: Settings,
    step: int | None = None,
    devices: Sequence[jax.Device] | None = None,
    display: Display | None = None,
) -> GradientAnalysis:
    """Analyse the gradient at a checkpoint of a run. Nothing is written.

    The gradients are those of completions' summed log-probabilities, weighted as the run's aggregation says. They are
    on-policy (at ratio 1, where nothing is clipped) and have no KL term.

    Args:
      step: of the checkpoint; None is the newest, 0 the base policy.
      devices: to compute on; None is all.

    Raises:
      ConfigError: if the task has too few problems, if there is too little memory, or if an input of the run, such as
        its training problems, has changed since.
      ValueError: if the checkpoint is damaged.
      FileNotFoundError: if the directory holds no run, or not this checkpoint.
    """
    display = display or Silent()
    display.doing("reading the checkpoint and sampling rollouts")
    config = read_config(workdir)
    check_noise(config.rollout.noise)
    check_weights(config)
    experiment, restored = restore(workdir, devices, step=step)
    check_problems(experiment, workdir)
    parameters = sum(leaf.size for leaf in jax.tree.leaves(trained_of(restored.state.params)))
    size = settings.size_for(parameters)
    sampled = sample(experiment, restored.params, restored.step, prompts=settings.prompts, samples=settings.samples)
    display.note(
        f"step {restored.step}: {settings.prompts:,} x {settings.samples} rollouts; computing their gradients, "
        + (f"all {parameters:,} numbers" if size is None else f"sketches of {size:,} numbers for {parameters:,}")
    )
    vectors = rollout_vectors(
        experiment,
        restored.state.params,
        sampled.rollouts,
        size=size,
        memory=settings.memory_gb * GIB / 4,
        progress=lambda done, total: display.progress("gradients of distinct rollouts", done, total, {}),
    )
    display.doing("statistics of the gradients")
    found = statistics(
        sampled,
        vectors,
        experiment.programs.objective.aggregation,
        tolerance=experiment.config.objective.no_signal_tolerance,
        cuts=settings.cuts,
        resamples=settings.resamples,
        seed=experiment.config.seed,
    )
    start = this_start(experiment.devices)
    return GradientAnalysis(
        run=str(workdir),
        provenance=AnalysisProvenance(run=provenance_of(RunDirectory(workdir)), analysis=start),
        step=restored.step,
        prompts=settings.prompts,
        samples=settings.samples,
        parameters=parameters,
        sketch=size,
        aggregation=_name_of(experiment),
        **vars(found),
    )


def _name_of(experiment: Experiment) -> str:
    return next(name for name, one in AGGREGATIONS.items() if one is experiment.programs.objective.aggregation)
