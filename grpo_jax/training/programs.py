"""The jitted programs of a run, made of a configuration, a policy and a mesh.

Nothing is computed here, and neither weights nor texts are needed. So the same programs can be compiled ahead of time,
for models whose weights and tokenizer are missing, and for devices that are not present.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, NamedSharding
from jaxtyping import Array

from grpo_jax.config import Config
from grpo_jax.objectives import Objective, Outcomes, make_objective
from grpo_jax.policy import Policy, is_quantised, trained_of, with_trained
from grpo_jax.sampling import Counter, SamplingPrograms, SamplingWeights, Stream, make_sampling_programs
from grpo_jax.sharding import RULES, SAMPLING_RULES, Rules, batch_shards, named, tree_named
from grpo_jax.training.arms import ArmMetrics, make_arm_metrics
from grpo_jax.training.optimizer import make_optimizer, make_schedule
from grpo_jax.training.update import Logprobs, Update, make_logprobs, make_update
from grpo_jax.types import Params, TrainState, UpdateBatch

# Compiler options if `model.remat` is on, by JAX's name of the platform. By default XLA for CPU orders operations so
# that many can run at once. Then the recomputation begins early and frees no memory.
REMAT_OPTIONS: Mapping[str, dict[str, Any]] = {"cpu": {"xla_cpu_scheduler_type": "CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED"}}


@dataclass(frozen=True)
class Shardings:
    """The shardings of arrays on the mesh: trees of NamedSharding, or one NamedSharding for all leaves."""

    params: Any  # of the policy without adapters
    weights: Any  # of SamplingWeights: the same, but not sharded along fsdp
    quantised: Any  # of SamplingWeights of the quantised policy, adapters included; None: nothing is quantised
    state: Any
    batch: NamedSharding  # leading axis: prompts
    groups: NamedSharding  # second axis: the groups of a micro-batch, if every device can have one
    replicated: NamedSharding


@dataclass(frozen=True)
class Programs:
    """Jitted functions, and the objects that they are made of."""

    mesh: Mesh
    policy: Policy  # for sampling and export: without adapters
    adapted: Policy  # for training: with the adapters of `model.lora`, if there are any
    objective: Objective
    tx: optax.GradientTransformation
    shardings: Shardings

    init_params: Callable[[Array], Params]  # key -> fresh parameters of `policy`
    adapt: Callable[[Params], Params]  # parameters of `policy` -> of `adapted`
    merge: Callable[[Params], Params]  # the reverse
    init_state: Callable[[Params], TrainState]  # of `adapted`; copies the trained parameters
    # Of `adapted`, for the engine; once per policy version. Quantised, if `rollout.quantization` says so.
    sampling_weights: Callable[[Params], SamplingWeights]
    evaluation_weights: Callable[[Params], SamplingWeights]  # the same as they are trained: never quantised
    policy_weights: Callable[[Params], SamplingWeights]  # of `policy`, as they are trained
    to_devices: Callable[[SamplingWeights], SamplingWeights]  # copies either kind to the devices of these programs
    sampling: SamplingPrograms  # of SamplingWeights
    advantages: Callable[[Outcomes], Any]  # outcomes of a whole step -> [N, G]
    advantages_alone: Callable[[Outcomes], Any]  # the same of each group as the only one of its step
    update: Update  # (state, batch) -> (state, metrics); donates the state
    logprobs: Logprobs  # (params, batch) -> log-probabilities
    arms: ArmMetrics  # (params, batch) -> metrics of the gradient's two arms


def make_programs(config: Config, mesh: Mesh, policy: Policy, stop_tokens: Sequence[int]) -> Programs:
    """Make the programs of a configuration for a policy on a mesh.

    Args:
      policy: the policy to train, with adapters if there are any.
      stop_tokens: each of these tokens ends a completion.
    """
    adapted, policy = policy, policy.base
    objective = make_objective(config.objective, config.rollout.group_size)
    schedule = make_schedule(config.optimizer, config.train.steps * config.train.minibatches)
    tx = make_optimizer(config.optimizer, schedule)
    shardings = make_shardings(mesh, adapted, tx, config)
    temperature, chunk = config.rollout.sampling.temperature, config.train.logprob_chunk
    options = {} if config.model.remat == "none" else REMAT_OPTIONS.get(mesh.devices.flat[0].platform, {})

    evaluation_weights = _make_evaluation_weights(config, mesh, adapted)
    quantising = config.rollout.quantization == "int8"
    return Programs(
        mesh=mesh,
        policy=policy,
        adapted=adapted,
        objective=objective,
        tx=tx,
        shardings=shardings,
        init_params=jax.jit(policy.init, out_shardings=shardings.params),
        adapt=_make_adapt(adapted, config.seed, shardings),
        merge=_make_merge(adapted, shardings),
        init_state=make_init_state(tx, shardings.state),
        sampling_weights=_make_quantise(adapted, shardings) if quantising else evaluation_weights,
        evaluation_weights=evaluation_weights,
        policy_weights=jax.jit(policy.cast, out_shardings=shardings.weights),
        to_devices=lambda weights: jax.device_put(
            weights, shardings.quantised if is_quantised(weights) else shardings.weights
        ),
        sampling=make_sampling_programs(config, mesh, adapted, stop_tokens, shardings.batch),
        advantages=jax.jit(objective.advantages),
        advantages_alone=jax.jit(objective.advantages_alone),
        update=jax.jit(
            make_update(adapted, objective, tx, schedule, temperature, chunk),
            donate_argnums=0,
            out_shardings=(shardings.state, shardings.replicated),
            compiler_options=options,
        ),
        logprobs=jax.jit(
            make_logprobs(adapted, temperature, chunk), out_shardings=shardings.groups, compiler_options=options
        ),
        arms=jax.jit(
            make_arm_metrics(adapted, objective, temperature, chunk),
            out_shardings=shardings.replicated,
            compiler_options=options,
        ),
    )


def make_shardings(mesh: Mesh, policy: Policy, tx: optax.GradientTransformation, config: Config) -> Shardings:
    """Make the shardings of a run.

    If a micro-batch has too few groups for the devices, its token ids are replicated, because they are small. The
    activations are large, and are sharded by rows (`Policy`).
    """
    replicated = named(mesh)
    return Shardings(
        params=_of_params(mesh, policy.base),
        weights=_of_params(mesh, policy.base, SAMPLING_RULES),
        quantised=_of_params(mesh, policy.quantised, SAMPLING_RULES) if config.rollout.quantization == "int8" else None,
        state=state_shardings(mesh, policy, tx),
        batch=named(mesh, "batch"),
        groups=replicated if config.train.microbatch_groups % batch_shards(mesh) else named(mesh, None, "batch"),
        replicated=replicated,
    )


def state_shardings(mesh: Mesh, policy: Policy, tx: optax.GradientTransformation) -> TrainState:
    """Return the shardings of a state. Moments are sharded like their parameters."""
    params = _of_params(mesh, policy)
    replicated = named(mesh)
    opt_state = optax.tree.map_params(
        tx,
        lambda _, sharding: sharding,
        jax.eval_shape(tx.init, trained_of(policy.shapes())),
        trained_of(params),
        transform_non_params=lambda _: replicated,
    )
    return TrainState(params, opt_state, updates=replicated, nonfinite_in_a_row=replicated)


def _of_params(mesh: Mesh, policy: Policy, rules: Rules = RULES) -> Any:
    return tree_named(mesh, policy.shapes(), policy.logical_axes(), rules)


def _make_adapt(policy: Policy, seed: int, shardings: Shardings) -> Callable[[Params], Params]:
    """Make a function that adds fresh adapters to the base policy's parameters, if the policy has adapters.

    The base policy's parameters are then never updated, so they are kept in the compute dtype, in which the forward
    pass reads them.
    """
    if policy.model.lora is None:
        return lambda params: params

    def fresh() -> Params:
        return trained_of(policy.init(Counter.of(seed, Stream.ADAPTERS, 0).key()))

    adapters = jax.jit(fresh, out_shardings=trained_of(shardings.state.params))
    freeze = jax.jit(policy.base.cast, out_shardings=shardings.params)
    return lambda params: with_trained(freeze(params), adapters())


def _make_merge(policy: Policy, shardings: Shardings) -> Callable[[Params], Params]:
    """Make a function that merges adapters into the base policy's parameters, if the policy has adapters."""
    return jax.jit(policy.merge, out_shardings=shardings.params) if policy.model.lora else lambda params: params


def _make_evaluation_weights(config: Config, mesh: Mesh, policy: Policy) -> Callable[[Params], SamplingWeights]:
    """Make a function from the policy's parameters to the engine's weights; adapters are merged, if it needs that."""
    if config.rollout.adapters_alone:
        return jax.jit(policy.cast, out_shardings=_of_params(mesh, policy, SAMPLING_RULES))
    base = policy.base
    shardings = _of_params(mesh, base, SAMPLING_RULES)
    return jax.jit(lambda params: base.cast(policy.merge(params)), out_shardings=shardings)


def _make_quantise(policy: Policy, shardings: Shardings) -> Callable[[Params], SamplingWeights]:
    """Make a function from the policy's parameters to quantised weights. Adapters stay beside the kernels.

    So frozen kernels are the same in every version, and an adapter's small change is not rounded away.
    """
    return jax.jit(lambda params: policy.cast(policy.quantise(params)), out_shardings=shardings.quantised)


def make_init_state(tx: optax.GradientTransformation, shardings: TrainState) -> Callable[[Params], TrainState]:
    """Make a function from parameters to the state before the first update.

    An update donates its state, and the reference may hold the same trained parameters. So the state gets copies of
    these. It takes over the other parameters.
    """

    def fresh(trained: Params) -> TrainState:
        return TrainState(jax.tree.map(jnp.copy, trained), tx.init(trained), jnp.int32(0), jnp.int32(0))

    jitted = jax.jit(fresh, out_shardings=dataclasses.replace(shardings, params=trained_of(shardings.params)))

    def init_state(params: Params) -> TrainState:
        state = jitted(trained_of(params))
        return dataclasses.replace(state, params=with_trained(params, state.params))

    return init_state


def update_batch_shardings(batch: UpdateBatch, shardings: Shardings) -> UpdateBatch:
    """Return the shardings of a minibatch, leaf by leaf."""
    return UpdateBatch(
        groups=jax.tree.map(lambda _: shardings.groups, batch.groups),
        filled=shardings.replicated,
        dropped_weight=shardings.replicated,
    )
