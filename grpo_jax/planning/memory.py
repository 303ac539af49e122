"""The HBM of one chip while a program runs: the program's own memory, and other data that the run keeps there."""

import math
from dataclasses import dataclass
from typing import Any

import jax

from grpo_jax.config import ArchitectureConfig, Config
from grpo_jax.json_record import JsonRecord
from grpo_jax.objectives import keeps_reference
from grpo_jax.planning.chips import Chip
from grpo_jax.policy import trained_of
from grpo_jax.sampling import cached_tokens
from grpo_jax.sharding import batch_shards
from grpo_jax.training.abstract_inputs import AbstractInputs


@dataclass(frozen=True)
class Memory(JsonRecord):
    """HBM of one chip while a program runs, in bytes."""

    params: int  # of the whole model, with frozen ones; while sampling, the sampler's copy as it reads it
    optimizer: int
    waiting: int  # data that the program does not use: a reference policy, and the rest of the training state
    cache: int  # keys and values, while sampling
    activations: int  # and everything else that the program computes: gathered parameters, gradients, logits
    peak: int  # of all together

    def fits(self, chip: Chip) -> bool:
        return self.peak <= chip.hbm - chip.reserved


def update_memory(own: int, inputs: AbstractInputs, config: Config) -> Memory:
    """Return the memory during an update.

    Args:
      own: the program's peak, as reported by its compiler.
      inputs: of the programs.
      config: of the run.
    """
    optimizer = tree_bytes(inputs.state.opt_state)
    return _memory(own, tree_bytes(inputs.state.params), optimizer=optimizer, waiting=reference_bytes(inputs, config))


def score_memory(own: int, inputs: AbstractInputs, config: Config) -> Memory:
    """Return the memory during scoring. The program uses the policy or the reference; the other one waits."""
    rest = tree_bytes(inputs.state) - tree_bytes(inputs.state.params)
    return _memory(own, tree_bytes(inputs.state.params), waiting=rest + reference_bytes(inputs, config))


def sample_memory(
    own: int, inputs: AbstractInputs, config: Config, architecture: ArchitectureConfig, lanes: int
) -> Memory:
    """Return the memory during sampling. The sampler has a copy of the weights, so the whole state waits.

    Args:
      lanes: of a shard; 0: a batch is decoded as a whole.
    """
    waiting = tree_bytes(inputs.state) + reference_bytes(inputs, config)
    cache = cache_bytes(inputs, config, architecture, lanes)
    return _memory(own, tree_bytes(inputs.weights), cache=cache, waiting=waiting)


def reference_bytes(inputs: AbstractInputs, config: Config) -> int:
    """Return the bytes of the reference policy: the trained parameters' initial values, if the objective needs them."""
    return tree_bytes(trained_of(inputs.state.params)) if keeps_reference(config.objective) else 0


def cache_bytes(inputs: AbstractInputs, config: Config, architecture: ArchitectureConfig, lanes: int) -> int:
    """Return the bytes of the keys and values that the sampler has room for. For `lanes` see `sample_memory`."""
    a, r = architecture, config.rollout
    shards = batch_shards(jax.tree.leaves(inputs.weights)[0].sharding.mesh)
    tokens = cached_tokens(
        lanes,
        prompts=r.prompts_per_batch // shards,
        group_size=r.group_size,
        prompt_tokens=inputs.prompts.tokens.shape[1],
        room=r.max_new_tokens,
        drafts=r.speculation,
    )
    heads = -(-a.num_kv_heads // config.mesh.tensor)
    item = 2 if config.model.compute_dtype == "bfloat16" else 4
    return tokens * 2 * a.num_layers * heads * a.head_dim * item


def tree_bytes(tree: Any) -> int:
    """Return the bytes of a tree of arrays, or of shapes with shardings, on one device."""
    return sum(leaf.dtype.itemsize * math.prod(leaf.sharding.shard_shape(leaf.shape)) for leaf in jax.tree.leaves(tree))


def _memory(own: int, params: int, *, optimizer: int = 0, cache: int = 0, waiting: int) -> Memory:
    activations = own - params - optimizer - cache
    return Memory(params, optimizer, waiting, cache, activations, peak=own + waiting)
