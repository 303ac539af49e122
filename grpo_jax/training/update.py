"""The update: gradients of the objective over micro-batches, one optimizer step, and what it says of itself."""

from collections.abc import Callable
from typing import TypeAlias

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from grpo_jax.objectives import LossSum, Objective, Recorded, completion_mask, importance_ratio, k3
from grpo_jax.policy import Policy
from grpo_jax.training.metrics import Mean, Metrics, merge
from grpo_jax.training.noise_scale import Spread, noise_metrics, spread_of
from grpo_jax.training.optimizer import apply_gradients
from grpo_jax.types import Groups, Params, TrainState, UpdateBatch

Update: TypeAlias = Callable[[TrainState, Params, UpdateBatch], tuple[TrainState, Metrics]]
Scorer: TypeAlias = Callable[[Params, Params, UpdateBatch], Float[Array, "K M G C"]]


def group_logprobs(
    policy: Policy, params: Params, groups: Groups, temperature: float, chunk: int
) -> Float[Array, "M G C"]:
    """Log-probabilities of the groups' completions."""
    m, g, c = groups.completion_tokens.shape
    return policy.completion_logprobs(
        params,
        jnp.repeat(groups.prompt_tokens, g, axis=0),
        jnp.repeat(groups.prompt_lengths, g, axis=0),
        groups.completion_tokens.reshape(m * g, c),
        temperature=temperature,
        chunk=chunk,
    ).reshape(m, g, c)


def group_loss(objective: Objective, logprobs: Float[Array, "M G C"], groups: Groups) -> LossSum:
    """The objective's loss of the groups, whose completions now have these log-probabilities."""
    return objective.loss(logprobs, _recorded(groups))


def _recorded(groups: Groups) -> Recorded:
    """Of the groups, as an objective takes it."""
    return Recorded(
        _old_logprobs(groups),
        groups.sampler_logprobs,
        groups.reference_logprobs,
        groups.completion_lengths,
        groups.advantages,
    )


def _old_logprobs(groups: Groups) -> Float[Array, "M G C"]:
    """The ratio's denominator."""
    return groups.sampler_logprobs if groups.old_logprobs is None else groups.old_logprobs


def make_scorer(policy: Policy, temperature: float, chunk: int) -> Scorer:
    """A function (trained, frozen, batch) -> log-probabilities, micro-batch by micro-batch; to be jitted."""

    def score(trained: Params, frozen: Params, batch: UpdateBatch) -> Float[Array, "K M G C"]:
        params = policy.join(trained, frozen)

        def one(index: Array, scores: Array) -> Array:
            micro = microbatch(batch, index)
            return jax.lax.dynamic_update_index_in_dim(
                scores, group_logprobs(policy, params, micro, temperature, chunk), index, 0
            )

        return jax.lax.fori_loop(0, batch.filled, one, jnp.zeros_like(batch.groups.sampler_logprobs))

    return score


def make_update(
    policy: Policy,
    objective: Objective,
    tx: optax.GradientTransformation,
    schedule: optax.Schedule,
    temperature: float,
    chunk: int,
) -> Update:
    """A function (state, frozen, batch) -> (state, metrics), to be jitted with its state donated.

    `frozen` holds the parameters that the state lacks, as `Policy.split` parts them; they have no gradient.

    Gradients of the loss's sum are added up over the filled micro-batches and divided once, by the weight of all of
    them and of the groups left out: so they do not depend on how the batch is cut. An update that is not finite
    leaves the state as it was, and is counted.

    Args:
      tx: the optimizer.
      schedule: its learning rate by optimizer steps taken, for the log only.
      temperature: that the sampler divided its logits by; so do the policy, the old policy and the reference.
      chunk: see `Policy.completion_logprobs`.
    """

    def loss(trained: Params, frozen: Params, groups: Groups) -> tuple[Float[Array, ""], Metrics]:
        params = policy.join(trained, frozen)
        logprobs = group_logprobs(policy, params, groups, temperature, chunk)
        total, weight = group_loss(objective, logprobs, groups)
        return total, {"loss": Mean(total, weight), **_token_metrics(objective, logprobs, groups)}

    def update(state: TrainState, frozen: Params, batch: UpdateBatch) -> tuple[TrainState, Metrics]:
        def one(index: Array, carry: tuple[Params, Metrics, Spread]) -> tuple[Params, Metrics, Spread]:
            micro = microbatch(batch, index)
            (_, metrics), gradients = jax.value_and_grad(loss, has_aux=True)(state.params, frozen, micro)
            return (
                jax.tree.map(jnp.add, carry[0], gradients),
                merge(carry[1], metrics),
                jax.tree.map(jnp.add, carry[2], spread_of(gradients, micro)),
            )

        shapes = jax.eval_shape(lambda: loss(state.params, frozen, microbatch(batch, jnp.int32(0)))[1])
        nothing = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), (state.params, shapes))
        none_yet = Spread(*(jnp.zeros(()),) * 3)
        gradients, metrics, spread = jax.lax.fori_loop(0, batch.filled, one, (*nothing, none_yet))
        metrics |= noise_metrics(gradients, spread)

        weight = metrics["loss"].weight + batch.dropped_weight
        gradients = jax.tree.map(lambda g: g / weight, gradients)
        norm = optax.tree.norm(gradients)
        metrics["loss"] = Mean(metrics["loss"].total, weight)
        one_more = jnp.ones(())
        metrics["grad_norm"] = Mean(norm, one_more)
        metrics["learning_rate"] = Mean(jnp.asarray(schedule(state.updates), jnp.float32), one_more)
        state = apply_gradients(tx, state, gradients, norm)
        metrics["max/updates"] = Mean(state.updates, one_more)
        metrics["max/nonfinite_in_a_row"] = Mean(state.nonfinite_in_a_row, one_more)
        return state, metrics

    return update


def microbatch(batch: UpdateBatch, index: Array) -> Groups:
    """The groups of one micro-batch."""
    return jax.tree.map(lambda x: jax.lax.dynamic_index_in_dim(x, index, keepdims=False), batch.groups)


def _token_metrics(objective: Objective, logprobs: Float[Array, "M G C"], groups: Groups) -> Metrics:
    """How far the policy is from the one that sampled, and how much of the surrogate is clipped."""
    logprobs = jax.lax.stop_gradient(logprobs)
    mask = completion_mask(groups.completion_lengths, logprobs.shape[-1])
    ratio = importance_ratio(logprobs, _old_logprobs(groups), mask)
    cut = objective.cut(logprobs, _recorded(groups))
    advantages = groups.advantages[..., None]
    difference = jnp.where(mask, jnp.abs(logprobs - groups.sampler_logprobs), 0.0)
    tokens = mask.sum().astype(jnp.float32)

    def share(where: Array) -> Mean:
        return Mean((where & mask).sum().astype(jnp.float32), tokens)

    metrics = {
        "clip_share/high": share((advantages > 0) & cut),
        "clip_share/low": share((advantages < 0) & cut),
        "sampler_difference/mean": Mean(difference.sum(), tokens),
        # For the effective sample size of the ratios: see `late_log.combine`.
        "ratio/mean": Mean(jnp.where(mask, ratio, 0.0).sum(), tokens),
        "ratio/second_moment": Mean(jnp.where(mask, ratio**2, 0.0).sum(), tokens),
        "max/sampler_difference": Mean(difference.max(), jnp.ones(())),
        # KL(sampler || policy) by the estimator k3, from the sampler's tokens.
        "sampler_difference/kl": Mean(
            jnp.where(mask, k3(jnp.where(mask, groups.sampler_logprobs, 0), jnp.where(mask, logprobs, 0)), 0).sum(),
            tokens,
        ),
    }
    if groups.reference_logprobs is not None:
        divergence = k3(jnp.where(mask, logprobs, 0.0), jnp.where(mask, groups.reference_logprobs, 0.0))
        metrics["reference_kl"] = Mean(jnp.where(mask, divergence, 0.0).sum(), tokens)
    return metrics
