"""Supervised learning from a task's demonstrations: the batches, the optimizer and the update of the warm start."""

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from grpo_jax.config import ConfigError, WarmStartConfig
from grpo_jax.data import Demonstrable, Problem, Split, encode, pad
from grpo_jax.objectives import length_mask
from grpo_jax.policy import Policy
from grpo_jax.randomness import TextStream, text_generator
from grpo_jax.training.optimizer import adamw, apply_gradients
from grpo_jax.types import Params, TrainState

PROBLEMS = 8192  # the pool that demonstrations are drawn from; only the easiest tasks have fewer

# prompt_tokens [B, P], prompt_lengths [B], completion_tokens [B, C], completion_lengths [B]
Batch: TypeAlias = dict[str, Any]


def make_optimizer(config: WarmStartConfig) -> optax.GradientTransformation:
    """Make AdamW with one learning rate for each of the two phases, and the gradient clipped to norm 1."""
    schedule = optax.piecewise_constant_schedule(
        config.full_learning_rate,
        {config.full_steps: config.skip_learning_rate / config.full_learning_rate},
    )
    return optax.chain(optax.clip_by_global_norm(1.0), adamw(schedule, config.weight_decay))


def make_supervised_update(
    policy: Policy, tx: optax.GradientTransformation
) -> Callable[[TrainState, Batch], tuple[TrainState, Float[Array, ""]]]:
    """Make a function (state, batch) -> (state, mean negative log-likelihood per completion token), to be jitted."""

    def loss(params: Params, batch: Batch) -> Float[Array, ""]:
        logprobs = policy.completion_logprobs(
            params, batch["prompt_tokens"], batch["prompt_lengths"], batch["completion_tokens"][:, None]
        )[:, 0]
        mask = length_mask(batch["completion_lengths"], logprobs.shape[-1])
        return -jnp.where(mask, logprobs, 0.0).sum() / mask.sum()

    def update(state: TrainState, batch: Batch) -> tuple[TrainState, Float[Array, ""]]:
        value, gradients = jax.value_and_grad(loss)(state.params, batch)
        return apply_gradients(tx, state, gradients, optax.tree.norm(gradients)), value

    return update


def demonstrations(settings: WarmStartConfig, task: Demonstrable, width: int) -> Callable[[int], Batch]:
    """Make a function step -> host arrays of that step's batch. The same step always gives the same batch.

    Args:
      width: C, the number of tokens to which solutions are padded.
    """
    problems = task.problems(Split.WARM_START, PROBLEMS, at_most=True)

    def batch(step: int) -> Batch:
        rng = text_generator(TextStream.DEMONSTRATIONS, settings.seed, step)
        skip = settings.skip_probability if step >= settings.full_steps else 0.0
        chosen = [problems[int(rng.random() * len(problems))] for _ in range(settings.batch_size)]
        solutions = [task.demonstration(problem, skip, rng) for problem in chosen]
        return encode_demonstrations(task, chosen, solutions, width)

    return batch


def digest_demonstrations(settings: WarmStartConfig, batches: Callable[[int], Batch]) -> str:
    """Return a hash of the first demonstrations of each phase. They decide the policy that the warm start makes."""
    whole = hashlib.sha256()
    for step in (0, settings.full_steps):
        for name, array in sorted(batches(step).items()):
            whole.update(name.encode() + array.tobytes())
    return whole.hexdigest()


def encode_demonstrations(
    task: Demonstrable, problems: Sequence[Problem], solutions: Sequence[str], width: int
) -> Batch:
    """Encode prompts and solutions as host arrays. Every solution ends with the first stop token.

    Raises:
      ConfigError: if a solution has a stop token before its end, such as one for an unknown character.
    """
    prompts, prompt_lengths = pad(task.prompt_tokens(problems), task.max_prompt_tokens)
    rows, stops = encode(task.tokenizer, solutions), set(task.stop_tokens)
    for solution, row in zip(solutions, rows, strict=True):
        if not stops.isdisjoint(row):
            raise ConfigError(
                f"warm_start: the demonstration {solution[:80]!r} has a stop token before its end, perhaps for a "
                "character that the task's tokenizer does not know; add that to its alphabet, or write it otherwise."
            )
    completions, completion_lengths = pad([[*row, task.stop_tokens[0]] for row in rows], width)
    return {
        "prompt_tokens": prompts,
        "prompt_lengths": prompt_lengths,
        "completion_tokens": completions,
        "completion_lengths": completion_lengths,
    }
