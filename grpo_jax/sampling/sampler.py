"""The sampler: groups of completions of each prompt, by jitted programs. It knows tokens only.

A prompt is prefilled once. Then a fixed number of lanes decode; a lane whose completion has stopped takes the next one
that waits. When none waits, the next batch of prompts is prefilled, and lanes keep their unfinished completions. After
the last batch, once a quarter of the lanes can hold the completions that are left, a narrower loop decodes these. A
completion's random numbers depend on its counter alone, so it is the same in any lane, batch and order.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, Int, Key

from grpo_jax.config import SamplingConfig
from grpo_jax.objectives import length_mask
from grpo_jax.policy import Policy
from grpo_jax.randomness import Counter, prompt_keys
from grpo_jax.sampling import lanes, speculation
from grpo_jax.sampling.cache import Cache, by_prompt, lane_attention, lane_axis
from grpo_jax.sampling.choice import draw, likeliest, noise_size
from grpo_jax.sampling.filters import filtered
from grpo_jax.sampling.lanes import Completions, Lanes, Left, Queue, Units, each_group_has_a_lane
from grpo_jax.sampling.noise import Noise, independent
from grpo_jax.sharding import batch_shards, named, on_each_shard
from grpo_jax.types import Params, PromptBatch, Rollouts, StopReason

Sampler: TypeAlias = Callable[..., Rollouts]  # (params, prompts, counter[, earlier])

NARROWER = 4  # how many times fewer lanes the next loop has
NARROWEST = 64  # lanes of a shard: a loop of fewer saves less than it takes to compile


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True)
class DecodeState:
    """The state of the decode loop, and what one batch leaves to the next."""

    step: Int[Any, ""]
    slot: Int[Any, ""]  # of the newest batch; W slots are filled in turn
    prompts: PromptBatch  # [W, N]
    queue: Queue
    lanes: Lanes
    cache: Cache  # of the tokens that the decoder has read: all but the newest ones
    completions: Completions
    left: Left


@dataclass(frozen=True)
class ContinuousSampler:
    """Functions that sample one batch of prompts after the other, all of the same shape. They are to be jitted."""

    empty: Callable[..., DecodeState]  # (params, prompts, counter[, earlier]): of their shapes; no value is read
    # Take a batch, and decode until none of it waits and the oldest batch in flight is finished. Returns that batch's
    # rollouts, which are valid once W batches have been fed. If `last` is set, decode all. The state is to be donated.
    # With drafts, earlier completions of the batch's prompts follow, as `Earlier` has them.
    feed: Callable[..., tuple[DecodeState, Rollouts]]  # (params, state, prompts, counter, last[, earlier])
    finish: Callable[[Params, DecodeState], list[Rollouts]]  # of the W batches in flight, the oldest first


def make_sampler(
    policy: Policy, sampling: SamplingConfig, *, lanes_per_shard: int = 0, drafts: int = 0, **options: Any
) -> Sampler:
    """Make a function (params, prompts, counter[, earlier]) -> Rollouts of one batch, to be jitted.

    Args:
      policy: as `make_continuous_sampler` takes it.
      sampling: likewise.
      **options: likewise.
      lanes_per_shard: completions of a shard that are decoded at once; 0, or too many: all of the batch, and those of
        a group share a lane.
      drafts: as `make_continuous_sampler` takes them. Then earlier completions follow the counter.
    """

    def sample(params: Params, prompts: PromptBatch, counter: Counter, *earlier: Int[Array, "N G C"]) -> Rollouts:
        prompts_per_shard = len(prompts.ids) // _shards(policy)
        alone = each_group_has_a_lane(lanes_per_shard, prompts_per_shard, options["group_size"], drafts)
        continuous = make_continuous_sampler(
            policy, sampling, lanes_per_shard=0 if alone else lanes_per_shard, drafts=drafts, **options
        )
        state = continuous.empty(params, prompts, counter, *earlier)
        state, _ = continuous.feed(params, state, prompts, counter, jnp.array(True), *earlier)
        return continuous.finish(params, state)[0]

    return sample


def make_continuous_sampler(
    policy: Policy,
    sampling: SamplingConfig,
    *,
    group_size: int,
    max_new_tokens: int,
    stop_tokens: Sequence[int],
    pad_token: int = 0,
    noise: Noise = independent,
    lanes_per_shard: int,
    in_flight: int = 1,
    drafts: int = 0,
) -> ContinuousSampler:
    """Make functions that sample batches of prompts. A prompt without tokens gets no completions worth reading.

    Args:
      sampling: temperature (0 is greedy) and filters. The log-probabilities returned are those of the distribution
        that was sampled from, filters included.
      group_size: G, completions of each prompt.
      max_new_tokens: C, the stop token included.
      stop_tokens: each of them ends a completion, and belongs to it.
      pad_token: fills the room after the end of a completion; it may be a stop token.
      noise: how the completions of a group share their noise. A completion with shared noise can be sampled again only
        together with its group.
      lanes_per_shard: completions of a shard that are decoded at once; 0: all of a batch, and those of a group share
        a lane.
      in_flight: W, batches that are decoded at once. The more there are, the later lanes have to wait for the oldest.
      drafts: tokens that the policy reads after each newest one, to find out whether they are its choices
        (`speculation.py`); 0: none. With drafts there have to be lanes.
    """
    stops = np.asarray(sorted(set(stop_tokens)), np.int32)
    on_shards = partial(on_each_shard, policy.mesh)

    def choose(
        logits: Float[Array, "B E V"],
        keys: Key[Array, " B"],
        samples: Int[Array, "B samples"],
        positions: Int[Array, "B E"],
    ) -> tuple[Int[Array, "B E"], Float[Array, "B E"]]:
        allowed = filtered(logits, sampling)
        if not sampling.temperature:
            return likeliest(allowed)
        number = noise_size(logits.shape[-1])

        def drawn(key: Key[Array, ""], sample: Int[Array, ""], position: Int[Array, ""]) -> Float[Array, " number"]:
            return noise(key, sample, position, number, max_new_tokens)

        samples = jnp.broadcast_to(samples, positions.shape)
        return draw(allowed, jax.vmap(jax.vmap(drawn, (None, 0, 0)))(keys, samples, positions))

    def first_tokens(
        params: Params, prompts: PromptBatch, counter: Counter
    ) -> tuple[Int[Array, "N G"], Float[Array, "N G"], Key[Array, " N"], Any]:
        """Sample every completion's first token. Also return each prompt's random key, and its keys and values."""
        n = len(prompts.ids)
        keys = prompt_keys(counter.key(), prompts.ids)  # `noise` folds the keys of completions and tokens from them
        hidden, prompt_kv = policy.hidden_states(params, prompts.tokens)
        last = jnp.take_along_axis(hidden, (prompts.lengths - 1)[:, None, None], axis=1)
        logits = jnp.broadcast_to(policy.logits(params, last), (n, group_size, policy.vocab_size))
        samples = jnp.broadcast_to(jnp.arange(group_size), (n, group_size))
        token, logprob = choose(logits, keys, samples, jnp.zeros_like(samples))
        return token, logprob, keys, by_prompt(prompt_kv)

    def units_of_shard(
        token: Int[Array, "N G"],
        logprob: Float[Array, "N G"],
        keys: Key[Array, " N"],
        prompts: PromptBatch,
        earlier: Int[Array, "N G C"] | None,
    ) -> tuple[Units, Completions]:
        """Cut the groups of a shard, with their first tokens, into units."""
        n, lengths = len(token), prompts.lengths
        completions = 1 if lanes_per_shard else group_size
        shape = (n * group_size // completions, completions)
        prompt = jnp.repeat(jnp.arange(n), shape[0] // n)
        empty = (lengths == 0)[:, None]
        units = Units(
            prompt=prompt,
            prompt_length=lengths[prompt],
            key=keys[prompt],
            sample=jnp.broadcast_to(jnp.arange(group_size), token.shape).reshape(shape),
            newest=token.reshape(shape),
            stopped=(jnp.isin(token, stops) | empty).reshape(shape) | (max_new_tokens == 1),
            text=None if earlier is None else speculation.texts(prompts, earlier),
        )
        room = (1, *shape, max_new_tokens)
        return units, Completions(
            tokens=jnp.full(room, pad_token, jnp.int32).at[..., 0].set(units.newest),
            logprobs=jnp.zeros(room, jnp.float32).at[..., 0].set(logprob.reshape(shape)),
            lengths=jnp.ones(room[:-1], jnp.int32),
        )

    @jax.jit  # so that `empty` and `feed` trace it once
    def begin(
        params: Params, prompts: PromptBatch, counter: Counter, earlier: Int[Array, "N G C"] | None
    ) -> tuple[Units, Completions, Any]:
        """Return a batch's units, its completions, and the keys and values of its prompts."""
        token, logprob, keys, prompt_kv = first_tokens(params, prompts, counter)
        return *on_shards(units_of_shard, (0,) * 5, (0, 1))(token, logprob, keys, prompts, earlier), prompt_kv

    def empty(
        params: Params, prompts: PromptBatch, counter: Counter, earlier: Int[Array, "N G C"] | None = None
    ) -> DecodeState:
        like = jax.eval_shape(begin, params, prompts, counter, earlier)
        units, completions, prompt_kv = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), like)
        units = replace(units, stopped=jnp.ones_like(units.stopped))
        axis = lane_axis(prompt_kv)
        idle = on_shards(
            partial(lanes.idle_lanes, lanes=lanes_per_shard or 1, room=max_new_tokens, drafts=drafts),
            (0, axis),
            (0, axis),
        )
        queue = on_shards(lanes.make_queue, (0,), 0)(units)
        busy, cache = idle(units, prompt_kv)
        zero = jnp.int32(0)
        state = DecodeState(
            step=zero,
            slot=zero,
            prompts=jax.tree.map(lambda leaf: jnp.zeros((in_flight, *leaf.shape), leaf.dtype), prompts),
            queue=queue,
            lanes=busy,
            cache=cache,
            completions=jax.tree.map(lambda leaf: jnp.repeat(leaf, in_flight, axis=0), completions),
            left=on_shards(lanes.left, (0, 0, None), 0)(queue, busy, zero),
        )
        return _laid_out(state, policy.mesh)

    def feed(
        params: Params,
        state: DecodeState,
        prompts: PromptBatch,
        counter: Counter,
        last: Bool[Array, ""],
        earlier: Int[Array, "N G C"] | None = None,
    ) -> tuple[DecodeState, Rollouts]:
        units, completions, prompt_kv = begin(params, prompts, counter, earlier)
        slot = (state.slot + 1) % in_flight
        if lanes_per_shard:
            queue, busy, cache = on_shards(lanes.make_queue, (0,), 0)(units), state.lanes, state.cache
        else:
            axis = lane_axis(prompt_kv)
            each = on_shards(partial(lanes.lane_per_unit, room=max_new_tokens), (0, axis), (0, 0, axis))
            queue, busy, cache = each(units, prompt_kv)
        held_prompts, held_completions = jax.tree.map(
            lambda held, new: jax.lax.dynamic_update_slice_in_dim(held, new, slot, 0),
            (state.prompts, state.completions),
            (jax.tree.map(lambda leaf: leaf[None], prompts), completions),
        )
        state = with_left(
            replace(
                state,
                slot=slot,
                prompts=held_prompts,
                queue=queue,
                lanes=busy,
                cache=cache,
                completions=held_completions,
            )
        )
        until = partial(goes_on, last=last, few=narrower(lanes_of_shard(state)))
        state = jax.lax.while_loop(until, partial(decode, params, prompt_kv), state)
        return _laid_out(state, policy.mesh), rollouts(state, oldest(state))

    def finish(params: Params, state: DecodeState) -> list[Rollouts]:
        while fewer := narrower(lanes_of_shard(state)):
            axis = lane_axis(state.cache.prompts)
            busy, cache = on_shards(partial(lanes.narrow, width=fewer), (0, axis), (0, axis))(state.lanes, state.cache)
            state = replace(state, lanes=busy, cache=cache)
            until = partial(goes_on, last=jnp.array(True), few=narrower(fewer))
            state = jax.lax.while_loop(until, partial(decode, params, None), state)
        return [rollouts(state, (oldest(state) + later) % in_flight) for later in range(in_flight)]

    def lanes_of_shard(state: DecodeState) -> int:
        """Return the number of lanes of a shard."""
        return len(state.lanes.age) // _shards(policy)

    def oldest(state: DecodeState) -> Int[Array, ""]:
        """Return the slot of the oldest batch in flight."""
        return (state.slot + 1) % in_flight

    def with_left(state: DecodeState) -> DecodeState:
        left = on_shards(lanes.left, (0, 0, None), 0)(state.queue, state.lanes, oldest(state))
        return replace(state, left=left)

    def decode(params: Params, prompts: Any, state: DecodeState) -> DecodeState:
        """Sample the next token of every completion in a lane; with drafts also those that follow right drafts.

        Args:
          prompts: keys and values of the prompts that wait; None: none waits.
        """
        queue, busy, own = state.queue, state.lanes, state.cache.prompts
        if prompts is not None and lanes_per_shard:
            axis = lane_axis(prompts)
            refill = on_shards(lanes.refill, (0, 0, axis, axis, None), (0, 0, axis))
            queue, busy, own = refill(queue, busy, prompts, own, state.slot)
        work = busy.work
        columns = jnp.arange(max_new_tokens + drafts)[None]
        if drafts:
            drafted = on_shards(partial(speculation.look_up, number=drafts), (0, 1), 0)(busy, state.completions)
            tokens = jnp.concatenate([work.newest, drafted], axis=1)
            column, back = busy.read, busy.age[:, None] - columns
        else:
            tokens, before = work.newest, state.step - 1
            column = before % max_new_tokens
            back = jnp.broadcast_to(1 + (before - columns) % max_new_tokens, (len(work.newest), max_new_tokens))
        cache = replace(state.cache, prompts=own).write_newest(column)
        prompt_width = jax.tree.leaves(own)[0].shape[-2]
        attend = lane_attention(length_mask(work.prompt_length, prompt_width), busy.age, back, drafts)
        # The decoder's rows are lanes, and its time axis is a lane's completions, or a window of its completion.
        age = jnp.broadcast_to(busy.age[:, None] + jnp.arange(1 + drafts)[None], tokens.shape)
        positions = work.prompt_length[:, None] + age
        hidden, kv = policy.hidden_states(params, tokens, positions, attend, cache.contexts())
        token, logprob = choose(policy.logits(params, hidden), work.key, work.sample, age + 1)
        ends = jnp.isin(token, stops)
        kept = speculation.kept(tokens[:, 1:], token, ends) if drafts else jnp.ones_like(work.stopped[:, :1])
        record = on_shards(lanes.record, (0, 1, 0, 0, 0, 0), (0, 1))
        by_completion = (leaf.reshape(*work.newest.shape, -1) for leaf in (token, logprob, ends))
        busy, completions = record(busy, state.completions, *by_completion, kept)
        return with_left(
            replace(
                state,
                step=state.step + 1,
                queue=queue,
                lanes=busy,
                cache=replace(cache, newest=kv),
                completions=completions,
            )
        )

    def rollouts(state: DecodeState, slot: Int[Array, ""]) -> Rollouts:
        """Put the completions of a batch's units together into groups."""
        prompts, completions = jax.tree.map(
            lambda leaf: jax.lax.dynamic_index_in_dim(leaf, slot, keepdims=False), (state.prompts, state.completions)
        )

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

    return ContinuousSampler(empty, feed, finish)


def narrower(lanes: int) -> int:
    """Return how many lanes the next, narrower loop has; 0: there is none."""
    return lanes // NARROWER if lanes >= NARROWER * NARROWEST else 0


def goes_on(state: DecodeState, last: Bool[Array, ""], few: int) -> Bool[Array, ""]:
    """Return whether a loop has work on any shard.

    Args:
      last: whether the loop decodes the remaining units until at most `few` are left.
      few: the number of units for which a narrower loop has enough lanes.
    """
    left = state.left
    return ((left.waiting > 0) | jnp.where(last, left.decoded > few, left.oldest > 0)).any()


def _shards(policy: Policy) -> int:
    return 1 if policy.mesh is None else batch_shards(policy.mesh)


def _laid_out(state: DecodeState, mesh: Mesh | None) -> DecodeState:
    """Return the state laid out on the mesh, so that one compiled program takes and returns it."""
    if mesh is None:
        return state
    layers = (None,) * lane_axis(state.cache.prompts)

    def lay(tree: Any, *axes: str | None) -> Any:
        return jax.lax.with_sharding_constraint(tree, named(mesh, *axes))

    def lay_heads(tree: Any, after: int) -> Any:
        """Lay out the leaves of a cache in which `after` axes follow the axis of heads."""

        def of_leaf(leaf: Array) -> Array:
            between = (None,) * (leaf.ndim - len(layers) - 2 - after)
            return lay(leaf, *layers, "batch", *between, "kv_heads")

        return jax.tree.map(of_leaf, tree)

    return DecodeState(
        step=lay(state.step),
        slot=lay(state.slot),
        prompts=lay(state.prompts, None, "batch"),
        queue=lay(state.queue, "batch"),
        lanes=lay(state.lanes, "batch"),
        cache=Cache(
            prompts=lay_heads(state.cache.prompts, after=2),
            completions=lay_heads(state.cache.completions, after=2),
            newest=lay_heads(state.cache.newest, after=1),
        ),
        completions=lay(state.completions, None, "batch"),
        left=lay(state.left, "batch"),
    )
