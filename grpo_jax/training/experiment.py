"""An experiment: a configuration with the programs, the task and the engine that are built from it."""

import dataclasses
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import jax
from jax.sharding import Mesh

from grpo_jax.config import ArchitectureConfig, Config, ConfigError, Mistakes, QuestionsConfig, check, counted
from grpo_jax.data import Demonstrable, Task, make_task, prompt_prefix
from grpo_jax.objectives import check_resampling, check_updates, make_objective
from grpo_jax.policy import Policy
from grpo_jax.policy.huggingface import different_fields, read_architecture, read_positions
from grpo_jax.rewards import make_reward
from grpo_jax.runs.provenance import now
from grpo_jax.sampling import RolloutEngine
from grpo_jax.sharding import batch_shards, make_meshes
from grpo_jax.training.engines import make_engine
from grpo_jax.training.programs import Programs, make_programs
from grpo_jax.training.unfit import check_range

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Experiment:
    """A configuration and everything that is built from it."""

    config: Config
    programs: Programs
    samplers: Programs  # for the devices that sample: `programs` itself, unless `mesh.rollout_share` splits them off
    task: Task
    engine: RolloutEngine  # samples all completions
    date: str  # the date that the task was built with: UTC, to the second

    @property
    def devices(self) -> list[jax.Device]:
        """The devices that train and those that sample."""
        meshes = {one.mesh: None for one in (self.programs, self.samplers)}
        return [device for mesh in meshes for device in mesh.devices.flatten()]


def build(
    config: Config,
    devices: Sequence[jax.Device] | None = None,
    date: str | None = None,
    *,
    judges: bool = True,
) -> Experiment:
    """Build an experiment for some devices, or for all if None. Nothing is computed yet.

    Args:
      date: the run's date for templates that ask for one, in UTC and ISO format; now if None.
      judges: whether mistakes in the reward of questions are reported now. Otherwise they are reported at its first
        use.

    Raises:
      ConfigError: if the configuration does not fit the task or the devices.
    """
    date = date or now()
    mistakes = Mistakes()
    with mistakes:
        objective = make_objective(config.objective, config.rollout.group_size)
        check_updates(config.objective, objective, config.rollout, config.train.minibatches)
        check_resampling(config.objective, objective, config.rollout)
        check_range(config, objective)
    with mistakes:
        if judges and isinstance(config.task, QuestionsConfig):
            make_reward(config.task.reward, config.rollout.max_new_tokens)
    with mistakes:
        mesh, sampling_mesh = make_meshes(config.mesh, devices)
        check_batches(config, batch_shards(mesh), batch_shards(sampling_mesh))
    with mistakes:
        task = make_task(config, datetime.fromisoformat(date))
        _check_demonstrations(config, task)
    with mistakes:
        architecture_of(config)
    mistakes.tell()
    architecture = _architecture(config, task)
    tokens = min(tokens_of(task), architecture.vocab_size)

    def programs_for(mesh: Mesh) -> Programs:
        policy = Policy(architecture, config.model, mesh, tokens=tokens, prompt_prefix=prompt_prefix(task))
        return make_programs(config, mesh, policy, task.stop_tokens)

    programs = programs_for(mesh)
    samplers = programs if sampling_mesh is mesh else programs_for(sampling_mesh)
    return Experiment(config, programs, samplers, task, make_engine(config, programs, samplers, task), date)


def lanes_of_step(experiment: Experiment) -> int:
    """Return how many completions of a training step are decoded at once; 0: all of a batch, or none here."""
    rollout, programs = experiment.config.rollout, experiment.samplers
    if rollout.engine:
        return 0
    per_shard = programs.sampling.lanes(
        rollout.prompts_per_step, rollout.prompts_per_batch, rollout.group_size, experiment.task.max_prompt_tokens
    )
    return per_shard * batch_shards(programs.mesh)


def check_batches(config: Config, shards: int, sampling_shards: int | None = None) -> None:
    """Raise ConfigError if a batch cannot be split into equal shards.

    Args:
      shards: of training.
      sampling_shards: of sampling; the same if None.
    """
    sampled = sampling_shards or shards
    mistakes, rows = Mistakes(), config.train.microbatch_groups * config.rollout.group_size
    for field, number, pieces in (
        ("rollout.prompts_per_batch", config.rollout.prompts_per_batch, sampled),
        ("rollout.lanes", max(config.rollout.lanes, 0), sampled),
        ("train.microbatch_groups x rollout.group_size", rows, shards),
        ("evaluation.prompts_per_batch", config.evaluation.prompts_per_batch, sampled),
        *([("warm_start.batch_size", config.warm_start.batch_size, shards)] if config.warm_start else []),
    ):
        if number % pieces:
            with mistakes:
                raise ConfigError(
                    f"{field}={number}: must be divisible by the {counted(pieces, 'device')} (mesh.data x mesh.fsdp) "
                    "that share it."
                )
    mistakes.tell()


def _check_demonstrations(config: Config, task: Task) -> None:
    if not config.warm_start:
        return
    if not isinstance(task, Demonstrable):
        raise ConfigError(
            f"warm_start: the task {config.task.name} has no demonstrations to learn from; set warm_start to none and "
            "model.checkpoint to a policy."
        )
    if config.rollout.max_new_tokens < task.max_solution_tokens:
        raise ConfigError(
            f"rollout.max_new_tokens={config.rollout.max_new_tokens}: full solutions take up to "
            f"{counted(task.max_solution_tokens, 'token')}; raise it to that."
        )


def architecture_of(config: Config) -> ArchitectureConfig:
    """Return the architecture of a configuration, or that of its checkpoint if it names none.

    Raises:
      ConfigError: if the checkpoint cannot be read, or has another architecture than the configuration names.
    """
    named = config.model.architecture
    if not config.model.checkpoint:
        assert named is not None  # by the rules of configurations
        return named
    found = read_architecture(Path(config.model.checkpoint))
    differing = ", ".join(different_fields(named, found)) if named else ""
    if differing:
        raise ConfigError(
            f"model.checkpoint={config.model.checkpoint!r}: differs from model.architecture in {differing}; set "
            "model.architecture to none to use that of the checkpoint."
        )
    check(dataclasses.replace(config, model=dataclasses.replace(config.model, architecture=found)))
    return found


def _architecture(config: Config, task: Task) -> ArchitectureConfig:
    """Return the architecture with a vocabulary size that fits the task's tokenizer.

    The tokenizer of a checkpoint may have more tokens than the model has embeddings. (Gemma 3's tokenizer has a token
    for images, for which the smaller models have no embedding.) Such tokens cannot be used. Stop tokens are checked
    here, and prompts when they are encoded (`grpo_jax.evaluation.sampled`).
    """
    architecture = architecture_of(config)
    tokens, wanted = tokens_of(task), architecture.vocab_size
    if wanted and wanted < tokens and not config.model.checkpoint:
        raise ConfigError(
            f"model.architecture.vocab_size={wanted}: the tokenizer has {counted(tokens, 'token')}; set it to 0, or at "
            "least that."
        )
    beyond = [token for token in task.stop_tokens if wanted and token >= wanted]
    if beyond:
        raise ConfigError(
            f"model.checkpoint={config.model.checkpoint!r}: has embeddings for {counted(wanted, 'token')}, and the "
            f"stop token {beyond[0]} is not among them; name the tokenizer that belongs to the model."
        )
    _check_rows(architecture, task.max_prompt_tokens, config.rollout.max_new_tokens)
    _tell_long_rows(config, task.max_prompt_tokens)
    return dataclasses.replace(architecture, vocab_size=wanted or tokens)


def _check_rows(architecture: ArchitectureConfig, prompt: int, room: int) -> None:
    for rope in (architecture.rope, architecture.local_rope):
        if rope and rope.scaling == "longrope" and prompt + room > rope.original_length:
            raise ConfigError(
                f"rollout.max_new_tokens={room}: with prompts of up to {counted(prompt, 'token')} rows may have "
                f"{prompt + room}, and RoPE scaling longrope rotates every token of a row differently once it has more "
                f"than {rope.original_length}; lower it, or the prompts' limit."
            )


def _tell_long_rows(config: Config, prompt: int) -> None:
    """Warn if rows may be longer than the model was made for: it computes them, but has not learned to read them."""
    positions = read_positions(Path(config.model.checkpoint)) if config.model.checkpoint else None
    room = config.rollout.max_new_tokens
    if positions is not None and prompt + room > positions:
        logger.warning(
            "rollout.max_new_tokens=%d: with prompts of up to %s rows may have %d, and the model is for %d "
            "(max_position_embeddings in its config.json), so the ends of longer ones may make no sense; lower it, or "
            "the prompts' limit",
            room,
            counted(prompt, "token"),
            prompt + room,
            positions,
        )


def tokens_of(task: Task) -> int:
    """Return the number of token ids, including unused ones below the largest."""
    return max(task.tokenizer.get_vocab().values()) + 1
