"""What lies in the HBM of one chip while a program runs: its own, and what a run keeps there meanwhile."""

import math
from dataclasses import dataclass
from typing import Any

import jax

from grpo_jax.config import ArchitectureConfig, Config
from grpo_jax.objectives import needs_reference
from grpo_jax.planning.chips import Chip
from grpo_jax.policy import trained_of
from grpo_jax.sharding import batch_shards
from grpo_jax.training.programs import AbstractInputs


@dataclass(frozen=True)
class Memory:
    """HBM of one chip while a program runs, in bytes."""

    params: int  # all the model's, frozen ones too; while sampling, the sampler's copy in the compute dtype
    optimizer: int
    waiting: int  # what is not the program's but lies there: a reference policy, and the rest of the training state
    cache: int  # keys and values, while sampling
    activations: int  # and all else that the program makes: gathered parameters, gradients, logits
    peak: int  # of all this

    def fits(self, chip: Chip) -> bool:
        return self.peak <= chip.hbm - chip.reserved


def update_memory(own: int, inputs: AbstractInputs, config: Config) -> Memory:
    """While updating.

    Args:
      own: the program's peak, as its compiler says.
      inputs: of the programs.
      config: of the run.
    """
    optimizer = tree_bytes(inputs.state.opt_state)
    return _memory(own, tree_bytes(inputs.state.params), optimizer=optimizer, waiting=reference_bytes(inputs, config))


def score_memory(own: int, inputs: AbstractInputs, config: Config) -> Memory:
    """While scoring: of the policy and the reference one is the program's, and the other waits beside the optimizer."""
    rest = tree_bytes(inputs.state) - tree_bytes(inputs.state.params)
    return _memory(own, tree_bytes(inputs.state.params), waiting=rest + reference_bytes(inputs, config))


def sample_memory(own: int, inputs: AbstractInputs, config: Config, architecture: ArchitectureConfig) -> Memory:
    """While sampling: from a copy, so that the whole state waits."""
    waiting = tree_bytes(inputs.state) + reference_bytes(inputs, config)
    cache = cache_bytes(inputs, config, architecture)
    return _memory(own, tree_bytes(inputs.weights), cache=cache, waiting=waiting)


def reference_bytes(inputs: AbstractInputs, config: Config) -> int:
    """The policy that the objective compares with: what is trained, as it was at the beginning."""
    return tree_bytes(trained_of(inputs.state.params)) if needs_reference(config.objective) else 0


def cache_bytes(inputs: AbstractInputs, config: Config, architecture: ArchitectureConfig) -> int:
    """Keys and values of the prompts of a batch and their completions, all of full length."""
    a, r = architecture, config.rollout
    shards = batch_shards(jax.tree.leaves(inputs.weights)[0].sharding.mesh)
    tokens = inputs.prompts.tokens.shape[1] + r.group_size * r.max_new_tokens
    heads = -(-a.num_kv_heads // config.mesh.tensor)
    item = 2 if config.model.compute_dtype == "bfloat16" else 4
    return r.prompts_per_batch // shards * tokens * 2 * a.num_layers * heads * a.head_dim * item


def tree_bytes(tree: Any) -> int:
    """Of arrays, or of their shapes and shardings, on one device."""
    return sum(leaf.dtype.itemsize * math.prod(leaf.sharding.shard_shape(leaf.shape)) for leaf in jax.tree.leaves(tree))


def _memory(own: int, params: int, *, optimizer: int = 0, cache: int = 0, waiting: int) -> Memory:
    activations = own - params - optimizer - cache
    return Memory(params, optimizer, waiting, cache, activations, peak=own + waiting)
