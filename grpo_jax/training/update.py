"""The update: gradients of the objective over micro-batches, one optimizer step, and its metrics."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple, TypeAlias, TypeVar

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float

from grpo_jax.objectives import Objective, importance_ratio, k3, length_mask
from grpo_jax.policy import Policy, trained_of, with_trained
from grpo_jax.runs.lines import Measured
from grpo_jax.training.batching import Bucket, buckets_of
from grpo_jax.training.metrics import (
    EffectiveShare,
    Last,
    Maximum,
    Mean,
    Metric,
    Metrics,
    OfFirstMinibatch,
    empty,
    merge,
)
from grpo_jax.training.noise_scale import NoiseSums, noise_metrics, noise_sums
from grpo_jax.training.optimizer import apply_gradients
from grpo_jax.types import Groups, Params, TrainState, UpdateBatch

Update: TypeAlias = Callable[[TrainState, UpdateBatch], tuple[TrainState, Metrics]]
Logprobs: TypeAlias = Callable[[Params, UpdateBatch], Float[Array, "K M G C"]]
Carry = TypeVar("Carry")


class Accumulated(NamedTuple):
    """The sums over the micro-batches of an update."""

    gradients: Params
    loss: Mean
    metrics: Metrics
    noise: NoiseSums


def group_logprobs(
    policy: Policy, params: Params, groups: Groups, bucket: Bucket, temperature: float, chunk: int
) -> Float[Array, "M G C"]:
    """Compute the log-probabilities of the groups' completions; beyond the bucket's width they are 0.

    Only the policy's work is cut to the bucket. An objective sees all C positions, whatever the bucket.
    """
    logprobs = policy.completion_logprobs(
        params,
        groups.prompt_tokens[:, : bucket.prompt],
        groups.prompt_lengths,
        groups.completion_tokens[..., : bucket.completion],
        temperature=temperature,
        chunk=chunk,
    )
    return jnp.pad(logprobs, ((0, 0), (0, 0), (0, groups.completion_tokens.shape[-1] - bucket.completion)))


def over_microbatches(batch: UpdateBatch, add: Callable[[Carry, Array, Groups, Bucket], Carry], start: Carry) -> Carry:
    """Return `start` after calling `add` for every filled micro-batch, with its index, groups and bucket."""
    carry, begin = start, jnp.int32(0)
    for bucket, count in zip(buckets_of(batch.groups), batch.filled, strict=True):

        def add_next(index: Array, carry: Carry, bucket: Bucket = bucket) -> Carry:
            return add(carry, index, microbatch(batch, index), bucket)

        carry = jax.lax.fori_loop(begin, begin + count, add_next, carry)
        begin += count
    return carry


def make_logprobs(policy: Policy, temperature: float, chunk: int) -> Logprobs:
    """Make a function (params, batch) -> log-probabilities, micro-batch by micro-batch; to be jitted."""

    def logprobs(params: Params, batch: UpdateBatch) -> Float[Array, "K M G C"]:
        def add(found: Array, index: Array, micro: Groups, bucket: Bucket) -> Array:
            return jax.lax.dynamic_update_index_in_dim(
                found, group_logprobs(policy, params, micro, bucket, temperature, chunk), index, 0
            )

        return over_microbatches(batch, add, jnp.zeros_like(batch.groups.sampler_logprobs))

    return logprobs


def make_update(
    policy: Policy,
    objective: Objective,
    tx: optax.GradientTransformation,
    schedule: optax.Schedule,
    temperature: float,
    chunk: int,
) -> Update:
    """Make a function (state, batch) -> (state, metrics), to be jitted with its state donated.

    Parameters that are not trained (`trained_of`) have no gradient and stay in the same memory.

    The gradients of the summed loss are added over the filled micro-batches. The sum is divided once, by the weight of
    these micro-batches plus that of the dropped groups. So the gradient does not depend on how the batch is split. An
    update that is not finite leaves the state unchanged and is counted.

    Args:
      tx: the optimizer.
      schedule: the learning rate by optimizer steps taken, for the log only.
      temperature: the temperature of the sampler. The logits of policy, old policy and reference are divided by it too.
      chunk: see `Policy.completion_logprobs`.
    """

    def loss(
        trained: Params, params: Params, groups: Groups, bucket: Bucket
    ) -> tuple[Float[Array, ""], tuple[Mean, Metrics]]:
        logprobs = group_logprobs(policy, with_trained(params, trained), groups, bucket, temperature, chunk)
        total, weight = objective.loss(logprobs, groups)
        return total, (Mean(total, weight), _token_metrics(objective, logprobs, groups))

    def update(state: TrainState, batch: UpdateBatch) -> tuple[TrainState, Metrics]:
        params, trained = state.params, trained_of(state.params)

        def add(carry: Accumulated, index: Array, micro: Groups, bucket: Bucket) -> Accumulated:
            (_, (mean, metrics)), gradients = jax.value_and_grad(loss, has_aux=True)(trained, params, micro, bucket)
            return Accumulated(
                jax.tree.map(jnp.add, carry.gradients, gradients),
                carry.loss.merge(mean),
                merge(carry.metrics, metrics),
                jax.tree.map(jnp.add, carry.noise, noise_sums(gradients, micro)),
            )

        widest, *_ = buckets_of(batch.groups)
        mean_shape, metric_shapes = jax.eval_shape(
            lambda: loss(trained, params, microbatch(batch, jnp.int32(0)), widest)[1]
        )
        zeros = jax.tree.map(jnp.zeros_like, trained)
        zero = Accumulated(zeros, mean_shape.empty(), empty(metric_shapes), NoiseSums(*(jnp.zeros(()),) * 3))
        sums = over_microbatches(batch, add, zero)

        weight = sums.loss.weight + batch.dropped_weight
        gradients = jax.tree.map(lambda g: g / weight, sums.gradients)
        norm = optax.tree.norm(gradients)
        learning_rate = jnp.asarray(schedule(state.updates), jnp.float32)
        state = apply_gradients(tx, dataclasses.replace(state, params=trained), gradients, norm)
        return dataclasses.replace(state, params=with_trained(params, state.params)), {
            **sums.metrics,
            **noise_metrics(sums.gradients, sums.noise, samples_of_groups(batch)),
            Measured.LOSS: Mean(sums.loss.total, weight),
            Measured.GRADIENT_NORM: Mean(norm, jnp.ones(())),
            Measured.LEARNING_RATE: Mean(learning_rate, jnp.ones(())),
            Measured.UPDATES: Last(state.updates),
            Measured.NONFINITE_IN_A_ROW: Maximum(state.nonfinite_in_a_row),
        }

    return update


def microbatch(batch: UpdateBatch, index: Array) -> Groups:
    """Return the groups of one micro-batch."""
    return jax.tree.map(lambda x: jax.lax.dynamic_index_in_dim(x, index, keepdims=False), batch.groups)


def samples_of_groups(batch: UpdateBatch) -> Bool[Array, ""]:
    """Return whether the micro-batches are random samples of the minibatch's groups.

    They are if each is one group. Several groups of a micro-batch have similar lengths, and short completions may have
    other gradients than long ones. So micro-batches of several groups are random samples only if one bucket holds all.
    """
    return jnp.array(batch.groups.prompt_lengths.shape[1] == 1) | ((batch.filled > 0).sum() == 1)


def _token_metrics(objective: Objective, logprobs: Float[Array, "M G C"], groups: Groups) -> Metrics:
    """Measure how far the policy has moved from the one that sampled, and how much of the surrogate is clipped."""
    logprobs = jax.lax.stop_gradient(logprobs)
    mask = length_mask(groups.completion_lengths, logprobs.shape[-1])
    ratio = importance_ratio(logprobs, groups.ratio_denominator, mask)
    clipped = objective.clipped_tokens(logprobs, groups)
    advantages = groups.advantages[..., None]
    difference = jnp.where(mask, jnp.abs(logprobs - groups.sampler_logprobs), 0.0)
    tokens = mask.sum().astype(jnp.float32)

    def share(where: Array) -> Mean:
        return Mean((where & mask).sum().astype(jnp.float32), tokens)

    def mean(values: Float[Array, "M G C"]) -> Mean:
        return Mean(jnp.where(mask, values, 0.0).sum(), tokens)

    # KL(sampler || policy) by the estimator k3, from the sampler's tokens.
    divergence = k3(jnp.where(mask, groups.sampler_logprobs, 0), jnp.where(mask, logprobs, 0))
    metrics: dict[str, Metric] = {  # plain strings name metrics that no other module reads
        Measured.CLIPPED_ABOVE: share((advantages > 0) & clipped),
        Measured.CLIPPED_BELOW: share((advantages < 0) & clipped),
        "effective_sample_share": EffectiveShare(mean(ratio), mean(ratio**2)),
        # In later minibatches the policy has moved, so differences there are no errors of the sampler.
        Measured.SAMPLER_DIFFERENCE: OfFirstMinibatch(Maximum(difference.max())),
        Measured.SAMPLER_DIFFERENCE_MEAN: OfFirstMinibatch(Mean(difference.sum(), tokens)),
        Measured.SAMPLER_KL: OfFirstMinibatch(mean(divergence)),
    }
    if groups.old_logprobs is not None:  # otherwise the ratio itself is to the sampler
        weight = importance_ratio(logprobs, groups.sampler_logprobs, mask)
        metrics["sampler_sample_share"] = OfFirstMinibatch(EffectiveShare(mean(weight), mean(weight**2)))
    if groups.reference_logprobs is not None:
        divergence = k3(jnp.where(mask, logprobs, 0.0), jnp.where(mask, groups.reference_logprobs, 0.0))
        metrics["reference_kl"] = mean(divergence)
    return metrics
