"""The jitted programs of a run, made of a configuration, a policy and a mesh.

Nothing is computed here, and neither weights nor texts are needed. So the same programs can be compiled ahead of time,
for models whose weights and tokenizer are missing, and for devices that are not present.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding
from jaxtyping import Array

from grpo_jax.config import Config, SamplingConfig
from grpo_jax.objectives import Objective, Outcomes, make_objective, needs_reference
from grpo_jax.policy import Policy, is_quantised, trained_of, with_trained
from grpo_jax.sampling import NOISES, Continuous, Counter, Sampler, Stream, Whole, automatic_lanes
from grpo_jax.sharding import RULES, SAMPLING_RULES, Rules, batch_shards, named, tree_named
from grpo_jax.training.arms import ArmMetrics, make_arm_metrics
from grpo_jax.training.batching import buckets_of
from grpo_jax.training.optimizer import make_optimizer, make_schedule
from grpo_jax.training.update import Logprobs, Update, make_logprobs, make_update
from grpo_jax.types import Groups, Params, PromptBatch, TrainState, UpdateBatch

# Parameters for a rollout engine: in the compute dtype or quantised, and not sharded along fsdp.
SamplingWeights: TypeAlias = Params

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
    place: Callable[[SamplingWeights], SamplingWeights]  # copies either kind to the devices of these programs
    lanes: Callable[[int, int, int, int], int]  # (prompts of a request, at once, group_size, P) -> lanes per shard
    # The programs that sample, of SamplingWeights. With `rollout.speculation` they read drafts if they have lanes.
    sampler: Callable[..., Whole]  # (sampling, group_size[, noise, lanes per shard])
    continuous: Callable[..., Continuous]  # (sampling, group_size, noise, lanes per shard, batches in flight)
    advantages: Callable[[Outcomes], Any]  # outcomes of a whole step -> [N, G]
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

    def samplers(
        sampling: SamplingConfig, group_size: int, noise: str, lanes_per_shard: int, in_flight: int = 1
    ) -> Callable[[SamplingWeights], Sampler]:
        """Make the samplers of both kinds of weights. The weights say which policy samples."""
        plain = Sampler(
            policy,
            sampling,
            group_size=group_size,
            max_new_tokens=config.rollout.max_new_tokens,
            stop_tokens=stop_tokens,
            pad_token=stop_tokens[0],
            noise=NOISES[noise],
            lanes_per_shard=lanes_per_shard,
            in_flight=in_flight,
            drafts=config.rollout.speculation if lanes_per_shard else 0,
        )
        quantised = dataclasses.replace(plain, policy=adapted.quantised)
        return lambda weights: quantised if is_quantised(weights) else plain

    @cache  # validation, test and training may use the same sampler
    def sampler(
        sampling: SamplingConfig, group_size: int, noise: str = "independent", lanes_per_shard: int = 0
    ) -> Whole:
        made = samplers(sampling, group_size, noise, lanes_per_shard)
        return _jitted(Sampler.sample, made, out_shardings=shardings.batch)

    @cache
    def continuous(
        sampling: SamplingConfig, group_size: int, noise: str, lanes_per_shard: int, in_flight: int
    ) -> Continuous:
        made = samplers(sampling, group_size, noise, lanes_per_shard, in_flight)
        return (
            _jitted(Sampler.empty, made),
            _jitted(Sampler.feed, made, donate_argnums=1, out_shardings=(None, shardings.batch)),
            _jitted(Sampler.finish, made, out_shardings=shardings.batch),
        )

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
        place=lambda weights: jax.device_put(
            weights, shardings.quantised if is_quantised(weights) else shardings.weights
        ),
        lanes=cache(partial(_lanes_per_shard, config, mesh, adapted)),
        sampler=sampler,
        continuous=continuous,
        advantages=jax.jit(objective.advantages),
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


def _jitted(
    method: Callable[..., Any], sampler_of: Callable[[SamplingWeights], Sampler], **options: Any
) -> Callable[..., Any]:
    """Jit a method of a sampler as a function of weights and of the method's other arguments.

    Args:
      sampler_of: returns the sampler of either kind of weights.
      **options: of `jax.jit`.
    """

    def program(weights: SamplingWeights, *inputs: Any) -> Any:
        return method(sampler_of(weights), weights, *inputs)

    program.__name__ = method.__name__  # JAX shows it in logs and profiles
    return jax.jit(program, **options)


def _lanes_per_shard(
    config: Config, mesh: Mesh, policy: Policy, prompts: int, at_once: int, group_size: int, prompt_tokens: int
) -> int:
    """Return how many lanes a shard has for a request; 0: whole batches are decoded, with a lane for each group.

    With drafts each completion of a batch has a lane then: right drafts let it overtake the others of its group. If
    rollouts are quantised, evaluations, which are not, have as many lanes.

    Args:
      policy: as `make_programs` takes it.
      prompts: of the request.
      at_once: prompts of a batch.
      group_size: G.
      prompt_tokens: P.
    """
    shards = batch_shards(mesh)
    completions = -(-prompts // shards) * group_size
    if config.rollout.lanes >= 0:
        lanes = config.rollout.lanes // shards
    else:
        model, base = policy.architecture, policy.base
        quantised = config.rollout.quantization == "int8"
        lanes = automatic_lanes(
            completions,
            at_once // shards * group_size,
            prompt_tokens=prompt_tokens,
            room=config.rollout.max_new_tokens,
            accelerated=mesh.devices.flat[0].platform != "cpu",
            parameters=sum(leaf.size for leaf in jax.tree.leaves(base.shapes())),
            cached_per_token=2 * model.num_layers * model.num_kv_heads * model.head_dim,
            compressed=_weight_bytes(policy.quantised) / _weight_bytes(base) if quantised else 1.0,
        )
    everything = at_once // shards * group_size if config.rollout.speculation else 0
    return lanes if 0 < lanes < completions else everything


def _weight_bytes(policy: Policy) -> int:
    """Return the bytes of all of a policy's parameters as it reads them when it samples."""
    weights = jax.eval_shape(policy.cast, policy.shapes())
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(weights))


def make_shardings(mesh: Mesh, policy: Policy, tx: optax.GradientTransformation, config: Config) -> Shardings:
    """Make the shardings of a run.

    If a micro-batch has too few groups for the devices, its token ids are replicated. They are small. The activations,
    which are not, are sharded by rows (`Policy`).
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
    """Make a function from the policy's parameters to the engine's weights: adapters are merged, if it wants that."""
    if config.rollout.engine and config.rollout.engine.adapters == "alone":
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


@dataclass(frozen=True)
class AbstractInputs:
    """The shapes and shardings of the inputs of the training programs."""

    state: TrainState
    weights: SamplingWeights
    prompts: PromptBatch
    counter: Counter
    earlier: Sequence[Any]  # the completions in which drafts are looked up; empty without drafts
    batch: UpdateBatch


def abstract_state(programs: Programs) -> TrainState:
    """Return the shapes and shardings of the state."""
    params = jax.eval_shape(programs.adapt, programs.policy.shapes())
    return _with_shardings(jax.eval_shape(programs.init_state, params), programs.shardings.state)


def abstract_policy_weights(programs: Programs) -> SamplingWeights:
    """Return the shapes and shardings of the weights with which a policy is evaluated."""
    weights = jax.eval_shape(programs.policy_weights, programs.policy.shapes())
    return _with_shardings(weights, programs.shardings.weights)


def abstract_inputs(programs: Programs, config: Config, max_prompt_tokens: int) -> AbstractInputs:
    """Return abstract inputs with which the programs can be lowered and compiled ahead of time."""
    shardings = programs.shardings
    sampled, p = config.rollout.prompts_per_batch, max_prompt_tokens
    g, c = config.rollout.group_size, config.rollout.max_new_tokens
    m = config.train.microbatch_groups
    k = config.rollout.prompts_per_step // config.train.minibatches // m
    state = abstract_state(programs)
    if shardings.quantised is None:
        weights = abstract_policy_weights(programs)
    else:
        weights = _with_shardings(jax.eval_shape(programs.sampling_weights, state.params), shardings.quantised)
    prompts = PromptBatch(
        ids=np.zeros(sampled, np.uint32), tokens=np.zeros((sampled, p), np.int32), lengths=np.zeros(sampled, np.int32)
    )
    earlier = [np.zeros((sampled, g, c), np.int32)] * bool(config.rollout.speculation)
    groups = Groups(
        prompt_tokens=np.zeros((k, m, p), np.int32),
        prompt_lengths=np.zeros((k, m), np.int32),
        completion_tokens=np.zeros((k, m, g, c), np.int32),
        completion_lengths=np.zeros((k, m, g), np.int32),
        advantages=np.zeros((k, m, g), np.float32),
        prompt_weights=np.zeros((k, m), np.float32),
        sampler_logprobs=np.zeros((k, m, g, c), np.float32),
        old_logprobs=None,
        reference_logprobs=None,
    )
    filled = np.zeros(len(buckets_of(groups)), np.int32)
    batch = UpdateBatch(groups=groups, filled=filled, dropped_weight=np.zeros((), np.float32))
    return AbstractInputs(
        state=state,
        weights=weights,
        prompts=_with_shardings(prompts, jax.tree.map(lambda _: shardings.batch, prompts)),
        counter=Counter(*(jax.ShapeDtypeStruct((), jnp.uint32, sharding=shardings.replicated),) * 3),
        earlier=_with_shardings(earlier, [shardings.batch] * len(earlier)),
        batch=_with_shardings(batch, update_batch_shardings(batch, shardings)),
    )


def scores_per_minibatch(config: Config) -> int:
    """Return how often the loop scores a minibatch before its update: by the old policy and by the reference."""
    return (config.objective.old_logprobs == "trainer") + needs_reference(config.objective)


def scored(batch: UpdateBatch, config: Config) -> UpdateBatch:
    """Return the shapes of a minibatch for the update, with the log-probabilities that the loop adds."""
    like = batch.groups.sampler_logprobs
    groups = dataclasses.replace(
        batch.groups,
        old_logprobs=like if config.objective.old_logprobs == "trainer" else None,
        reference_logprobs=like if needs_reference(config.objective) else None,
    )
    return dataclasses.replace(batch, groups=groups)


def _with_shardings(tree: Any, shardings: Any) -> Any:
    return jax.tree.map(lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), tree, shardings)
