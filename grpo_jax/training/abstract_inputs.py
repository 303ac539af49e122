"""The shapes and shardings of the inputs of a run's programs, from which these are compiled ahead of time."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from grpo_jax.config import Config
from grpo_jax.objectives import keeps_reference
from grpo_jax.sampling import Counter, SamplingWeights
from grpo_jax.training.batching import buckets_of
from grpo_jax.training.programs import Programs, update_batch_shardings
from grpo_jax.types import Groups, PromptBatch, TrainState, UpdateBatch


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
    """Return how often the loop scores a minibatch before its update: for the old policy, the reference, or both."""
    return (config.objective.old_logprobs == "trainer") + keeps_reference(config.objective)


def scored(batch: UpdateBatch, config: Config) -> UpdateBatch:
    """Return the shapes of a minibatch for the update, with the log-probabilities that the loop adds."""
    like = batch.groups.sampler_logprobs
    groups = dataclasses.replace(
        batch.groups,
        old_logprobs=like if config.objective.old_logprobs == "trainer" else None,
        reference_logprobs=like if keeps_reference(config.objective) else None,
    )
    return dataclasses.replace(batch, groups=groups)


def _with_shardings(tree: Any, shardings: Any) -> Any:
    return jax.tree.map(lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), tree, shardings)
