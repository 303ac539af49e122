"""Everything that a configuration builds: the mesh, the task, the policy, and the jitted programs of a run.

Nothing is computed here, so the same programs can be compiled ahead of time for devices that are not there.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding
from jaxtyping import Array

from grpo_jax.config import Config, ConfigError, SamplingConfig
from grpo_jax.data import Task, make_task
from grpo_jax.objectives import Objective, make_objective
from grpo_jax.policy import Policy
from grpo_jax.sampling import Counter, Sampler, make_sampler
from grpo_jax.sharding import SAMPLING_RULES, batch_shards, make_mesh, named, tree_named
from grpo_jax.training.optimizer import make_optimizer, make_schedule
from grpo_jax.training.update import Scorer, Update, make_scorer, make_update
from grpo_jax.types import Groups, Params, PromptBatch, Rollouts, TrainState, UpdateBatch


@dataclass(frozen=True)
class Shardings:
    """Where things lie on the mesh; trees of NamedSharding, or one for all leaves."""

    params: Any
    state: Any
    batch: NamedSharding  # leading axis: prompts
    groups: NamedSharding  # second axis: the groups of a micro-batch
    replicated: NamedSharding


@dataclass(frozen=True)
class Experiment:
    """A configuration, built."""

    config: Config
    mesh: Mesh
    task: Task
    policy: Policy
    objective: Objective
    tx: optax.GradientTransformation
    shardings: Shardings

    init_params: Callable[[Array], Params]  # key -> fresh parameters
    init_state: Callable[[Params], TrainState]  # copies the parameters
    sample: Sampler
    sample_validation: Sampler
    sample_test: Sampler
    advantages: Callable[[Any, Any], Any]  # rewards [N, G], scored [N, G] -> [N, G]
    update: Update  # donates the state
    score: Scorer


def build(config: Config, devices: Sequence[jax.Device] | None = None) -> Experiment:
    """Builds an experiment for these devices, or for all there are.

    Raises:
      ConfigError: if the configuration asks for what the task or the devices cannot give.
    """
    mesh = make_mesh(config.mesh, devices)
    _check_batches(config, batch_shards(mesh))
    task = make_task(config.task)
    if config.rollout.max_new_tokens < task.max_solution_tokens:
        raise ConfigError(
            f"rollout.max_new_tokens={config.rollout.max_new_tokens}: full solutions take up to "
            f"{task.max_solution_tokens} tokens; raise it to that."
        )
    policy = Policy(config.model, _vocab_size(config, task), mesh, tokens=len(task.tokenizer))
    objective = make_objective(config.objective)
    schedule = make_schedule(config.optimizer, config.train.steps * config.train.minibatches)
    tx = make_optimizer(config.optimizer, schedule)
    shardings = make_shardings(mesh, policy, tx)
    temperature, chunk = config.rollout.sampling.temperature, config.train.logprob_chunk

    @cache  # validation, test and training may well sample alike
    def sampler(sampling: SamplingConfig, group_size: int) -> Sampler:
        return jit_sampler(policy, task, shardings, mesh, sampling, group_size, config.rollout.max_new_tokens)

    return Experiment(
        config=config,
        mesh=mesh,
        task=task,
        policy=policy,
        objective=objective,
        tx=tx,
        shardings=shardings,
        init_params=jax.jit(policy.init, out_shardings=shardings.params),
        init_state=jit_init_state(tx, shardings.state),
        sample=sampler(config.rollout.sampling, config.rollout.group_size),
        sample_validation=sampler(config.evaluation.sampling, config.evaluation.validation_samples),
        sample_test=sampler(config.evaluation.sampling, config.evaluation.test_samples),
        advantages=jax.jit(objective.advantages),
        update=jax.jit(
            make_update(policy, objective, tx, schedule, temperature, chunk),
            donate_argnums=0,
            out_shardings=(shardings.state, shardings.replicated),
        ),
        score=jax.jit(make_scorer(policy, temperature, chunk), out_shardings=shardings.groups),
    )


def make_shardings(mesh: Mesh, policy: Policy, tx: optax.GradientTransformation) -> Shardings:
    """Where a policy's parameters and an optimizer's state lie; moments lie with their parameters."""
    abstract = jax.eval_shape(policy.init, jax.random.key(0))
    params = tree_named(mesh, abstract, policy.logical_axes())
    replicated = named(mesh)
    opt_state = optax.tree.map_params(
        tx,
        lambda _, sharding: sharding,
        jax.eval_shape(tx.init, abstract),
        params,
        transform_non_params=lambda _: replicated,
    )
    return Shardings(
        params=params,
        state=TrainState(params, opt_state, updates=replicated, nonfinite_in_a_row=replicated),
        batch=named(mesh, "batch"),
        groups=named(mesh, None, "batch"),
        replicated=replicated,
    )


def jit_init_state(tx: optax.GradientTransformation, state_sharding: TrainState) -> Callable[[Params], TrainState]:
    """A jitted function from parameters to the state before the first update."""

    def init_state(params: Params) -> TrainState:
        # Copies: an update donates its state, and these parameters may have another owner (a frozen reference).
        return TrainState(jax.tree.map(jnp.copy, params), tx.init(params), jnp.int32(0), jnp.int32(0))

    return jax.jit(init_state, out_shardings=state_sharding)


def jit_sampler(
    policy: Policy,
    task: Task,
    shardings: Shardings,
    mesh: Mesh,
    sampling: SamplingConfig,
    group_size: int,
    max_new_tokens: int,
) -> Sampler:
    """A jitted sampler of a task's completions, its parameters cast and gathered once for the whole decoding."""
    sampler = make_sampler(
        policy,
        sampling,
        group_size=group_size,
        max_new_tokens=max_new_tokens,
        stop_tokens=task.stop_tokens,
        pad_token=task.stop_tokens[0],
    )
    abstract = jax.eval_shape(policy.init, jax.random.key(0))
    gathered = tree_named(mesh, abstract, policy.logical_axes(), SAMPLING_RULES)

    def sample(params: Params, prompts: PromptBatch, counter: Counter) -> Rollouts:
        return sampler(jax.lax.with_sharding_constraint(policy.cast(params), gathered), prompts, counter)

    return jax.jit(sample, out_shardings=shardings.batch)


def update_batch_shardings(batch: UpdateBatch, shardings: Shardings) -> UpdateBatch:
    """The shardings of a minibatch, leaf by leaf."""
    return UpdateBatch(
        groups=jax.tree.map(lambda _: shardings.groups, batch.groups),
        filled=shardings.replicated,
        dropped_weight=shardings.replicated,
    )


def abstract_inputs(experiment: Experiment) -> tuple[TrainState, PromptBatch, Counter, UpdateBatch]:
    """Shapes and shardings of what the training programs take, to compile them ahead of time."""
    config, task, shardings = experiment.config, experiment.task, experiment.shardings

    def with_shardings(tree: Any, sharding: Any) -> Any:
        return jax.tree.map(lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), tree, sharding)

    n, p = config.rollout.prompts_per_step, task.max_prompt_tokens
    g, c = config.rollout.group_size, config.rollout.max_new_tokens
    m = config.train.microbatch_groups
    k = n // config.train.minibatches // m
    state = jax.eval_shape(lambda key: experiment.init_state(experiment.policy.init(key)), jax.random.key(0))
    prompts = PromptBatch(ids=np.zeros(n, np.uint32), tokens=np.zeros((n, p), np.int32), lengths=np.zeros(n, np.int32))
    batch = UpdateBatch(
        groups=Groups(
            prompt_tokens=np.zeros((k, m, p), np.int32),
            prompt_lengths=np.zeros((k, m), np.int32),
            completion_tokens=np.zeros((k, m, g, c), np.int32),
            completion_lengths=np.zeros((k, m, g), np.int32),
            advantages=np.zeros((k, m, g), np.float32),
            sampler_logprobs=np.zeros((k, m, g, c), np.float32),
            old_logprobs=None,
            reference_logprobs=None,
        ),
        filled=np.zeros((), np.int32),
        dropped_weight=np.zeros((), np.float32),
    )
    counter = Counter(*(jax.ShapeDtypeStruct((), jnp.uint32, sharding=shardings.replicated),) * 3)
    return (
        with_shardings(state, shardings.state),
        with_shardings(prompts, jax.tree.map(lambda _: shardings.batch, prompts)),
        counter,
        with_shardings(batch, update_batch_shardings(batch, shardings)),
    )


def _vocab_size(config: Config, task: Task) -> int:
    tokens, wanted = len(task.tokenizer), config.model.vocab_size
    if wanted and wanted < tokens:
        raise ConfigError(
            f"model.vocab_size={wanted}: the tokenizer has {tokens} tokens; set it to 0, or at least that."
        )
    return wanted or tokens


def _check_batches(config: Config, shards: int) -> None:
    for field, number in (
        ("rollout.prompts_per_step", config.rollout.prompts_per_step),
        ("train.microbatch_groups", config.train.microbatch_groups),
        ("evaluation.prompts_per_batch", config.evaluation.prompts_per_batch),
        ("warm_start.batch_size", config.warm_start.batch_size),
    ):
        if number % shards:
            raise ConfigError(
                f"{field}={number}: must be divisible by the {shards} devices (mesh.data x mesh.fsdp) that share it."
            )
