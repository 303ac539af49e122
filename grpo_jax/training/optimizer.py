"""The optimizer: Adam or AdamW by Optax, with a warm-up, a schedule, and a clip of the gradient's global norm."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from grpo_jax.config import OptimizerConfig
from grpo_jax.policy import MATRICES
from grpo_jax.types import Params, TrainState


def make_schedule(config: OptimizerConfig, total_updates: int) -> optax.Schedule:
    """Make the schedule of the learning rate over optimizer steps.

    It rises linearly for `warmup_updates` steps, and then stays constant or falls to 0 along a cosine.
    """
    warmup = config.warmup_updates
    after = {
        "constant": lambda: optax.constant_schedule(config.learning_rate),
        "cosine": lambda: optax.cosine_decay_schedule(config.learning_rate, total_updates - warmup),
    }[config.schedule]()
    # The first update has 1/warmup of the learning rate, not 0.
    rise = optax.linear_schedule(config.learning_rate / max(warmup, 1), config.learning_rate, max(warmup - 1, 1))
    return optax.join_schedules([rise, after], [warmup])


def make_optimizer(config: OptimizerConfig, schedule: optax.Schedule) -> optax.GradientTransformation:
    """Make the optimizer of a training run. Moments have the dtype of the parameters, float32."""
    return optax.chain(
        optax.clip_by_global_norm(config.clip_norm),
        adamw(schedule, config.weight_decay, config.beta1, config.beta2, config.epsilon),
    )


def adamw(
    schedule: optax.Schedule, weight_decay: float, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8
) -> optax.GradientTransformation:
    """Make AdamW that does not decay norms and biases. With weight decay 0 it is Adam."""
    return optax.adamw(schedule, beta1, beta2, epsilon, weight_decay=weight_decay, mask=decay_mask)


def decay_mask(params: Params) -> Any:
    """Return a tree that is True for leaves with weight decay, and False for norm scales and biases."""
    return jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key in MATRICES, params)


def apply_gradients(
    tx: optax.GradientTransformation, state: TrainState, gradients: Params, norm: Float[Array, ""]
) -> TrainState:
    """Make one optimizer step, or none if the gradient's norm is not finite."""
    changes, opt_state = tx.update(gradients, state.opt_state, state.params)
    finite = jnp.isfinite(norm)
    stepped = TrainState(
        params=optax.apply_updates(state.params, changes),
        opt_state=opt_state,
        updates=state.updates + 1,
        nonfinite_in_a_row=jnp.zeros_like(state.nonfinite_in_a_row),
    )
    stayed = TrainState(state.params, state.opt_state, state.updates, state.nonfinite_in_a_row + 1)
    return jax.tree.map(lambda new, old: jnp.where(finite, new, old), stepped, stayed)
