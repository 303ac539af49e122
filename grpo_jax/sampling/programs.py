"""The jitted programs that sample, and how many lanes they have.

Neither weights nor texts are needed to make them, so they can also be compiled ahead of time.
"""

import dataclasses
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any, NamedTuple, TypeAlias

import jax
from jax.sharding import Mesh, NamedSharding

from grpo_jax.config import Config, SamplingConfig
from grpo_jax.policy import Policy, is_quantised
from grpo_jax.sampling.decode_state import DecodeState
from grpo_jax.sampling.lane_counts import automatic_lanes
from grpo_jax.sampling.noise import NOISES
from grpo_jax.sampling.sampler import Sampler
from grpo_jax.sharding import batch_shards
from grpo_jax.types import Params, Rollouts

# Parameters for a rollout engine: in the compute dtype or quantised, and not sharded along fsdp.
SamplingWeights: TypeAlias = Params

# A `Sampler`'s jitted methods, which take weights first: `sample`; and `empty`, `feed`, `finish`.
Whole: TypeAlias = Callable[..., Rollouts]
Continuous: TypeAlias = tuple[
    Callable[..., DecodeState], Callable[..., tuple[DecodeState, Rollouts]], Callable[..., list[Rollouts]]
]


class SamplingPrograms(NamedTuple):
    """The number of lanes of a request, and functions that return programs: for the same settings, the same ones.

    With `rollout.speculation`, programs with lanes read drafts.
    """

    # (prompts of a request, of a batch, group_size, P) -> lanes per shard; 0: whole batches are decoded, without drafts
    lanes: Callable[[int, int, int, int], int]
    whole: Callable[..., Whole]  # (sampling, group_size[, noise, lanes per shard]) -> what samples whole batches
    # (sampling, group_size, noise, lanes per shard, batches in flight) -> what samples one batch after the other
    continuous: Callable[..., Continuous]


def make_sampling_programs(
    config: Config, mesh: Mesh, adapted: Policy, stop_tokens: Sequence[int], batch: NamedSharding
) -> SamplingPrograms:
    """Make the programs that sample on a mesh.

    Args:
      adapted: the policy that is trained, with adapters if there are any. Unless its weights are quantised, they are
        merged for sampling.
      stop_tokens: each of these tokens ends a completion.
      batch: of the rollouts that they return.
    """

    def samplers(
        sampling: SamplingConfig, group_size: int, noise: str, lanes_per_shard: int, in_flight: int = 1
    ) -> Callable[[SamplingWeights], Sampler]:
        """Make the samplers of both kinds of weights. The weights say which policy samples."""
        plain = Sampler(
            adapted.base,
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
    def whole(sampling: SamplingConfig, group_size: int, noise: str = "independent", lanes_per_shard: int = 0) -> Whole:
        made = samplers(sampling, group_size, noise, lanes_per_shard)
        return _jitted(Sampler.sample, made, out_shardings=batch)

    @cache
    def continuous(
        sampling: SamplingConfig, group_size: int, noise: str, lanes_per_shard: int, in_flight: int
    ) -> Continuous:
        made = samplers(sampling, group_size, noise, lanes_per_shard, in_flight)
        return (
            _jitted(Sampler.empty, made),
            _jitted(Sampler.feed, made, donate_argnums=1, out_shardings=(None, batch)),
            _jitted(Sampler.finish, made, out_shardings=batch),
        )

    return SamplingPrograms(cache(partial(_lanes_per_shard, config, mesh, adapted)), whole, continuous)


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

    With drafts this is never 0. Whole batches then have a lane for each completion, because right drafts let it
    overtake the others of its group. Evaluations have as many lanes as rollouts, also if only these are quantised.

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
