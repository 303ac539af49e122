"""The two arms of a gradient: the parts from completions with positive and with other advantages."""

from collections.abc import Callable
from typing import TypeAlias

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from grpo_jax.objectives import Objective
from grpo_jax.policy import Policy, trained_of, with_trained
from grpo_jax.training.batching import Bucket
from grpo_jax.training.update import group_logprobs, over_microbatches
from grpo_jax.types import Groups, Params, UpdateBatch

ArmMetrics: TypeAlias = Callable[[Params, UpdateBatch], dict[str, Float[Array, ""]]]


def make_arm_metrics(policy: Policy, objective: Objective, temperature: float, chunk: int) -> ArmMetrics:
    """Make a function (params, batch) -> norms of the two arms and their cosine, to be jitted.

    The gradient with respect to the log-probabilities is split by the sign of the advantages, and each part is
    backpropagated through the policy. This works for every objective, and the arms add up to the update's gradient
    before its norm is clipped. A KL term belongs to the arm of its completion, and to the negative arm if the advantage
    is 0. A cosine of -1 means that the arms push the parameters in opposite directions, which is to be expected if
    right and wrong completions share most of their tokens. Near 0 they have nothing in common.
    """

    def arms(params: Params, batch: UpdateBatch) -> dict[str, Float[Array, ""]]:
        trained = trained_of(params)

        def add(
            carry: tuple[Params, Params, Array], index: Array, groups: Groups, bucket: Bucket
        ) -> tuple[Params, Params, Array]:
            def logprobs_of(part: Params) -> Float[Array, "M G C"]:
                return group_logprobs(policy, with_trained(params, part), groups, bucket, temperature, chunk)

            logprobs, back = jax.vjp(logprobs_of, trained)
            by_logprobs, weight = jax.grad(lambda x: objective.loss(x, groups), has_aux=True)(logprobs)
            above = (groups.advantages > 0)[..., None]
            (positive,) = back(jnp.where(above, by_logprobs, 0.0))
            (negative,) = back(jnp.where(above, 0.0, by_logprobs))
            return jax.tree.map(jnp.add, carry, (positive, negative, weight))

        nothing = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), (trained, trained))
        positive, negative, weight = over_microbatches(batch, add, (*nothing, jnp.zeros(())))
        norms = optax.tree.norm(positive), optax.tree.norm(negative)
        return {
            "arms/positive_norm": norms[0] / (weight + batch.dropped_weight),
            "arms/negative_norm": norms[1] / (weight + batch.dropped_weight),
            "arms/cosine": optax.tree.vdot(positive, negative) / (norms[0] * norms[1]),
        }

    return arms
