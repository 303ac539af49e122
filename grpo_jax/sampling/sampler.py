"""The sampler: groups of completions of each prompt, by one jitted program. It knows tokens only.

A prompt is prefilled once. Then a fixed number of lanes decode; a lane whose completion has stopped takes the next one
that waits. When so few are left that a quarter of the lanes would hold them, they move to these, and the rest is
decoded by a narrower loop. A completion's random numbers depend on its counter alone, so it is the same in any lane,
batch and order.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from grpo_jax.config import SamplingConfig
from grpo_jax.objectives import completion_mask
from grpo_jax.policy import Policy
from grpo_jax.randomness import Counter, prompt_keys
from grpo_jax.sampling import lanes
from grpo_jax.sampling.cache import Cache, by_prompt, lane_attention, lane_axis
from grpo_jax.sampling.choice import draw, likeliest, noise_size
from grpo_jax.sampling.filters import filtered
from grpo_jax.sampling.lanes import Completions, Lanes, Queue, Units, each_group_has_a_lane
from grpo_jax.sampling.noise import Noise, independent
from grpo_jax.sharding import batch_shards, on_each_shard
from grpo_jax.types import Params, PromptBatch, Rollouts, StopReason

Sampler: TypeAlias = Callable[[Params, PromptBatch, Counter], Rollouts]

NARROWER = 4  # how many times fewer lanes the next loop has
NARROWEST = 64  # lanes of a shard: a loop of fewer saves less than it takes to compile


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True)
class DecodeState:
    """The state of the decode loop."""

    step: Int[Array, ""]
    queue: Queue
    lanes: Lanes
    cache: Cache  # of the tokens that the decoder has read: all but the newest ones
    completions: Completions
    left: Int[Array, " shards"]  # units that are decoded or wait


def make_sampler(
    policy: Policy,
    sampling: SamplingConfig,
    *,
    group_size: int,
    max_new_tokens: int,
    stop_tokens: Sequence[int],
    pad_token: int = 0,
    noise: Noise = independent,
    lanes_per_shard: int = 0,
) -> Sampler:
    """Make a function (params, prompts, counter) -> Rollouts, to be jitted.

    Args:
      sampling: temperature (0 is greedy) and filters. The log-probabilities returned are those of the distribution
        that was sampled from, filters included.
      group_size: G, completions of each prompt.
      max_new_tokens: C, the stop token included.
      stop_tokens: each of them ends a completion, and belongs to it.
      pad_token: fills the room after the end of a completion; it may be a stop token.
      noise: how the completions of a group share their noise; to sample one of them again, sample its group.
      lanes_per_shard: completions of a shard that are decoded at once; 0, or too many: all of the batch, and those of
        a group share a lane.
    """
    stops = np.asarray(sorted(set(stop_tokens)), np.int32)
    on_shards = partial(on_each_shard, policy.mesh)

    def choose(
        logits: Float[Array, "B E V"],
        keys: Key[Array, " B"],
        samples: Int[Array, "B E"],
        position: Int[Array, " B"],
    ) -> tuple[Int[Array, "B E"], Float[Array, "B E"]]:
        allowed = filtered(logits, sampling)
        if not sampling.temperature:
            return likeliest(allowed)
        number = noise_size(logits.shape[-1])

        def drawn(key: Key[Array, ""], sample: Int[Array, ""], position: Int[Array, ""]) -> Float[Array, " number"]:
            return noise(key, sample, position, number, max_new_tokens)

        return draw(allowed, jax.vmap(jax.vmap(drawn, (None, 0, None)))(keys, samples, position))

    def first_tokens(
        params: Params, prompts: PromptBatch, counter: Counter
    ) -> tuple[Int[Array, "N G"], Float[Array, "N G"], Key[Array, " N"], Any]:
        """Sample every completion's first token, and return what a prompt's completions share, too."""
        n = len(prompts.ids)
        keys = prompt_keys(counter.key(), prompts.ids)
        hidden, prompt_kv = policy.hidden_states(params, prompts.tokens)
        last = jnp.take_along_axis(hidden, (prompts.lengths - 1)[:, None, None], axis=1)
        logits = jnp.broadcast_to(policy.logits(params, last), (n, group_size, policy.vocab_size))
        samples = jnp.broadcast_to(jnp.arange(group_size), (n, group_size))
        token, logprob = choose(logits, keys, samples, jnp.zeros(n, jnp.int32))
        return token, logprob, keys, by_prompt(prompt_kv)

    def units_of_shard(
        token: Int[Array, "N G"], logprob: Float[Array, "N G"], keys: Key[Array, " N"], lengths: Int[Array, " N"]
    ) -> tuple[Units, Completions]:
        """Cut the groups of a shard, with their first tokens, into units."""
        n = len(token)
        completions = group_size if each_group_has_a_lane(lanes_per_shard, n, group_size) else 1
        shape = (n * group_size // completions, completions)
        prompt = jnp.repeat(jnp.arange(n), shape[0] // n)
        units = Units(
            prompt=prompt,
            prompt_length=lengths[prompt],
            key=keys[prompt],
            sample=jnp.broadcast_to(jnp.arange(group_size), token.shape).reshape(shape),
            newest=token.reshape(shape),
            stopped=jnp.isin(token, stops).reshape(shape) | (max_new_tokens == 1),
        )
        room = (*shape, max_new_tokens)
        return units, Completions(
            tokens=jnp.full(room, pad_token, jnp.int32).at[..., 0].set(units.newest),
            logprobs=jnp.zeros(room, jnp.float32).at[..., 0].set(logprob.reshape(shape)),
            lengths=jnp.ones(shape, jnp.int32),
        )

    def decode(params: Params, prompts: Any, state: DecodeState, refills: bool) -> DecodeState:
        """Sample the next token of every completion in a lane.

        Args:
          prompts: keys and values of all prompts.
          refills: whether units wait that idle lanes can take.
        """
        axis = lane_axis(prompts)
        queue, busy, own = state.queue, state.lanes, state.cache.prompts
        if refills:
            refill = on_shards(lanes.refill, (0, 0, axis, axis), (0, 0, axis))
            queue, busy, own = refill(queue, busy, prompts, own)
        work = busy.work
        cache = replace(state.cache, prompts=own).write_newest(state.step)
        padded = jax.tree.leaves(own)[0].shape[-2]
        attend = lane_attention(completion_mask(work.prompt_length, padded), busy.age, state.step)
        positions = jnp.broadcast_to((work.prompt_length + busy.age)[:, None], work.newest.shape)
        hidden, kv = policy.hidden_states(params, work.newest, positions, attend, cache.contexts())
        token, logprob = choose(policy.logits(params, hidden), work.key, work.sample, busy.age + 1)
        record = on_shards(lanes.record, (0,) * 6, (0, 0, 0))
        busy, completions, left = record(queue, busy, state.completions, token, logprob, jnp.isin(token, stops))
        return DecodeState(
            step=state.step + 1,
            queue=queue,
            lanes=busy,
            cache=replace(cache, newest=kv),
            completions=completions,
            left=left,
        )

    def finish(prompts: PromptBatch, completions: Completions) -> Rollouts:
        """Put the units' completions together into groups."""

        def grouped(leaf: Array) -> Array:
            return leaf.reshape(len(prompts.ids), group_size, *leaf.shape[2:])

        tokens, lengths = grouped(completions.tokens), grouped(completions.lengths)
        last = jnp.take_along_axis(tokens, lengths[..., None] - 1, axis=-1)[..., 0]
        return Rollouts(
            prompt_tokens=prompts.tokens,
            prompt_lengths=prompts.lengths,
            completion_tokens=tokens,
            completion_lengths=lengths,
            logprobs=grouped(completions.logprobs),
            stop_reasons=jnp.where(jnp.isin(last, stops), StopReason.STOP, StopReason.LENGTH),
        )

    def sample(params: Params, prompts: PromptBatch, counter: Counter) -> Rollouts:
        shards = 1 if policy.mesh is None else batch_shards(policy.mesh)
        token, logprob, keys, prompt_kv = first_tokens(params, prompts, counter)
        axis = lane_axis(prompt_kv)
        units, completions = on_shards(units_of_shard, (0,) * 4, 0)(token, logprob, keys, prompts.lengths)
        n = len(prompts.ids) // shards
        width = n if each_group_has_a_lane(lanes_per_shard, n, group_size) else lanes_per_shard
        tick = partial(decode, params, prompt_kv, refills=width < len(units.sample) // shards)
        begin = on_shards(partial(lanes.start, lanes=width, room=max_new_tokens), (0, axis), (0, 0, axis, 0))
        queue, busy, cache, left = begin(units, prompt_kv)
        state = DecodeState(step=jnp.int32(0), queue=queue, lanes=busy, cache=cache, completions=completions, left=left)
        while width:
            narrower = width // NARROWER if width >= NARROWER * NARROWEST else 0
            state = jax.lax.while_loop(partial(more_than, narrower), tick, state)
            if narrower:
                narrow = on_shards(partial(lanes.narrow, width=narrower), (0, axis), (0, axis))
                busy, cache = narrow(state.lanes, state.cache)
                state = replace(state, lanes=busy, cache=cache)
            width = narrower
        return finish(prompts, state.completions)

    return sample


def more_than(units: int, state: DecodeState) -> Bool[Array, ""]:
    """Return whether more units than this are left on any shard."""
    return state.left.max() > units
