"""The sampler: groups of completions of each prompt, by jitted programs. It knows tokens only.

A prompt is prefilled once. Then a fixed number of lanes decode; a lane whose completion has stopped takes the next one
that waits. When none waits, the next batch of prompts is prefilled, and lanes keep their unfinished completions. After
the last batch, once a quarter of the lanes can hold the completions that are left, a narrower loop decodes these. A
completion's random numbers depend on its counter alone, so it is the same in any lane, batch and order.
"""

from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from functools import cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from grpo_jax.config import SamplingConfig
from grpo_jax.objectives import length_mask
from grpo_jax.policy import Policy
from grpo_jax.randomness import Counter, prompt_keys
from grpo_jax.sampling import lanes, speculation
from grpo_jax.sampling.cache import Cache, by_prompt, lane_attention, lane_axis
from grpo_jax.sampling.choice import draw, likeliest, noise_size
from grpo_jax.sampling.decode_state import DecodeState
from grpo_jax.sampling.filters import filtered
from grpo_jax.sampling.lane_counts import each_group_has_a_lane
from grpo_jax.sampling.lanes import CompletionArrays, Lanes, Queue, Units
from grpo_jax.sampling.noise import Noise, independent
from grpo_jax.sharding import batch_shards, on_each_shard
from grpo_jax.types import Params, PromptBatch, Rollouts, StopReason

NARROWER = 4  # how many times fewer lanes the next loop has
NARROWEST = 64  # lanes of a shard: a loop of fewer saves less than it takes to compile


@dataclass(frozen=True)
class Sampler:
    """The settings by which groups are sampled, and the functions that sample them, which are to be jitted.

    `sample` is for a single batch. For batches of the same shape, one after the other, `empty` makes a state, `feed`
    takes a batch, and `finish` returns those that are in flight at the end. A prompt without tokens gets no completions
    worth reading. With drafts each batch comes with earlier completions of its prompts, as `EarlierCompletions` has
    them.
    """

    policy: Policy
    # Temperature (0 is greedy) and filters. The log-probabilities returned are those of the distribution that was
    # sampled from, filters included.
    sampling: SamplingConfig
    _: KW_ONLY
    group_size: int  # G, completions of each prompt
    max_new_tokens: int  # C, the stop token included
    stop_tokens: Sequence[int]  # each of them ends a completion, and belongs to it
    pad_token: int = 0  # fills the room after the end of a completion; it may be a stop token
    # How the completions of a group share their noise. A completion with shared noise can be sampled again only
    # together with its group.
    noise: Noise = independent
    # Completions of a shard that are decoded at once; 0: all of a batch, and those of a group share a lane.
    lanes_per_shard: int = 0
    in_flight: int = 1  # W, batches that are decoded at once; the more, the later lanes have to wait for the oldest
    # Tokens that the policy reads after each newest one, to find out whether they are its choices (`speculation.py`);
    # 0: none. With drafts there have to be lanes.
    drafts: int = 0

    def sample(self, params: Params, prompts: PromptBatch, counter: Counter, *earlier: Int[Array, "N G C"]) -> Rollouts:
        """Return the rollouts of one batch. If there is a lane for every completion, those of a group share one."""
        prompts_per_shard = len(prompts.ids) // batch_shards(self.policy.mesh)
        alone = each_group_has_a_lane(self.lanes_per_shard, prompts_per_shard, self.group_size, self.drafts)
        sampler = replace(self, lanes_per_shard=0) if alone else self
        state = sampler.empty(params, prompts, counter, *earlier)
        state, _ = sampler.feed(params, state, prompts, counter, jnp.array(True), *earlier)
        (rollouts,) = sampler.finish(params, state)
        return rollouts

    def empty(
        self, params: Params, prompts: PromptBatch, counter: Counter, earlier: Int[Array, "N G C"] | None = None
    ) -> DecodeState:
        """Return the state before the first batch, for batches like this one. No value is read."""
        like = jax.eval_shape(self._prefill_once, params, prompts, counter, earlier)
        units, completions, prompt_kv = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), like)
        units = replace(units, stopped=jnp.ones_like(units.stopped))
        axis = lane_axis(prompt_kv)
        idle_lanes = self._on_shards(
            partial(lanes.idle_lanes, lanes=self.lanes_per_shard or 1, room=self.max_new_tokens, drafts=self.drafts),
            (0, axis),
            (0, axis),
        )
        queue = self._on_shards(lanes.make_queue, (0,), 0)(units)
        idle, cache = idle_lanes(units, prompt_kv)
        zero = jnp.int32(0)
        state = DecodeState(
            step=zero,
            slot=zero,
            prompts=jax.tree.map(lambda leaf: jnp.zeros((self.in_flight, *leaf.shape), leaf.dtype), prompts),
            queue=queue,
            lanes=idle,
            cache=cache,
            completions=jax.tree.map(lambda leaf: jnp.repeat(leaf, self.in_flight, axis=0), completions),
            left=self._on_shards(lanes.left, (0, 0, None), 0)(queue, idle, zero),
        )
        return state.laid_out(self.policy.mesh)

    def feed(
        self,
        params: Params,
        state: DecodeState,
        prompts: PromptBatch,
        counter: Counter,
        last: Bool[Array, ""],
        earlier: Int[Array, "N G C"] | None = None,
    ) -> tuple[DecodeState, Rollouts]:
        """Take a batch, and decode until none of it waits and the oldest batch in flight is finished.

        Also return the rollouts of the oldest batch. They are valid once W batches have been fed.

        Args:
          state: to be donated.
          last: whether this is the last batch. Then all batches are decoded, but for what `finish` does faster.
        """
        units, completions, prompt_kv = self._prefill_once(params, prompts, counter, earlier)
        slot = state.oldest()  # its batch has been given back
        queue, all_lanes, cache = self._lanes_for(units, prompt_kv, state)
        state = replace(state.with_batch(slot, prompts, completions), queue=queue, lanes=all_lanes, cache=cache)
        state = self._decode(params, prompt_kv, state.counted(self.policy.mesh), last)
        return state.laid_out(self.policy.mesh), self._rollouts(state, state.oldest())

    def finish(self, params: Params, state: DecodeState) -> list[Rollouts]:
        """Return the rollouts of the W batches in flight, the oldest first."""
        while fewer := narrower(state.lanes_of_shard()):
            axis = lane_axis(state.cache.prompts)
            narrow = self._on_shards(partial(lanes.narrow, width=fewer), (0, axis), (0, axis))
            fewer_lanes, cache = narrow(state.lanes, state.cache)
            state = self._decode(params, None, replace(state, lanes=fewer_lanes, cache=cache), jnp.array(True))
        return [self._rollouts(state, (state.oldest() + later) % self.in_flight) for later in range(self.in_flight)]

    @cached_property
    def _prefill_once(self) -> Callable[..., tuple[Units, CompletionArrays, Any]]:
        """Return `prefill`, jitted, so that `empty` and `feed` trace it only once."""
        return jax.jit(self.prefill)

    def prefill(
        self, params: Params, prompts: PromptBatch, counter: Counter, earlier: Int[Array, "N G C"] | None
    ) -> tuple[Units, CompletionArrays, Any]:
        """Return a batch's units after their first tokens, its completions, and the keys and values of its prompts."""
        n = len(prompts.ids)
        keys = prompt_keys(counter.key(), prompts.ids)  # `noise` folds the keys of completions and tokens from them
        last, prompt_kv = self.policy.prefill(params, prompts.tokens, prompts.lengths)
        logits = jnp.broadcast_to(self.policy.logits(params, last), (n, self.group_size, self.policy.vocab_size))
        samples = jnp.broadcast_to(jnp.arange(self.group_size), (n, self.group_size))
        token, logprob = self._choose(logits, keys, samples, jnp.zeros_like(samples))
        prompt_kv = by_prompt(prompt_kv)
        units, completions = self._on_shards(self._units, (0,) * 5, (0, 1))(token, logprob, keys, prompts, earlier)
        return units, completions, prompt_kv

    def _units(
        self,
        token: Int[Array, "N G"],
        logprob: Float[Array, "N G"],
        keys: Key[Array, " N"],
        prompts: PromptBatch,
        earlier: Int[Array, "N G C"] | None,
    ) -> tuple[Units, CompletionArrays]:
        """Cut the groups of a shard, with their first tokens, into units."""
        n, lengths = len(token), prompts.lengths
        completions = 1 if self.lanes_per_shard else self.group_size
        shape = (n * self.group_size // completions, completions)
        prompt = jnp.repeat(jnp.arange(n), shape[0] // n)
        empty = (lengths == 0)[:, None]
        units = Units(
            prompt=prompt,
            prompt_length=lengths[prompt],
            key=keys[prompt],
            sample=jnp.broadcast_to(jnp.arange(self.group_size), token.shape).reshape(shape),
            newest=token.reshape(shape),
            stopped=(jnp.isin(token, self._stops) | empty).reshape(shape) | (self.max_new_tokens == 1),
            text=None if earlier is None else speculation.texts(prompts, earlier),
        )
        room = (1, *shape, self.max_new_tokens)
        return units, CompletionArrays(
            tokens=jnp.full(room, self.pad_token, jnp.int32).at[..., 0].set(units.newest),
            logprobs=jnp.zeros(room, jnp.float32).at[..., 0].set(logprob.reshape(shape)),
            lengths=jnp.ones(room[:-1], jnp.int32),
        )

    def _lanes_for(self, units: Units, prompt_kv: Any, state: DecodeState) -> tuple[Queue, Lanes, Cache]:
        """Return a queue of a batch's units, and the lanes that will take them; or no queue, and a lane for each."""
        if self.lanes_per_shard:
            return self._on_shards(lanes.make_queue, (0,), 0)(units), state.lanes, state.cache
        axis = lane_axis(prompt_kv)
        lane_per_unit = partial(lanes.lane_per_unit, room=self.max_new_tokens)
        queue, all_lanes, cache = self._on_shards(lane_per_unit, (0, axis), (0, 0, axis))(units, prompt_kv)
        return queue, all_lanes, cache

    def _decode(self, params: Params, prompt_kv: Any, state: DecodeState, last: Bool[Array, ""]) -> DecodeState:
        """Decode as long as `DecodeState.goes_on` says; see `_step` for the arguments."""
        until = partial(DecodeState.goes_on, last=last, few=narrower(state.lanes_of_shard()))
        return jax.lax.while_loop(until, partial(self._step, params, prompt_kv), state)

    def _step(self, params: Params, prompt_kv: Any, state: DecodeState) -> DecodeState:
        """Sample the next token of every completion in a lane; with drafts also those that follow right drafts.

        Args:
          prompt_kv: keys and values of the prompts that wait; None: none waits.
        """
        queue, refilled, lane_prompts = self._refilled(state, prompt_kv)
        work = refilled.work
        tokens, column, back = self._read(state, refilled)
        cache = replace(state.cache, prompts=lane_prompts).write_newest(column)
        prompt_width = jax.tree.leaves(lane_prompts)[0].shape[-2]
        attend = lane_attention(length_mask(work.prompt_length, prompt_width), refilled.age, back, self.drafts)
        # The decoder's rows are lanes, and its time axis is a lane's completions, or a window of its completion.
        age = jnp.broadcast_to(refilled.age[:, None] + jnp.arange(1 + self.drafts)[None], tokens.shape)
        positions = work.prompt_length[:, None] + age
        hidden, kv = self.policy.hidden_states(params, tokens, positions, attend, cache.contexts())
        token, logprob = self._choose(self.policy.logits(params, hidden), work.key, work.sample, age + 1)
        ends = jnp.isin(token, self._stops)
        kept = speculation.kept(tokens[:, 1:], token, ends) if self.drafts else jnp.ones_like(work.stopped[:, :1])
        record = self._on_shards(lanes.record, (0, 1, 0, 0, 0, 0), (0, 1))
        by_completion = (leaf.reshape(*work.newest.shape, -1) for leaf in (token, logprob, ends))
        recorded, completions = record(refilled, state.completions, *by_completion, kept)
        return replace(
            state,
            step=state.step + 1,
            queue=queue,
            lanes=recorded,
            cache=replace(cache, newest=kv),
            completions=completions,
        ).counted(self.policy.mesh)

    def _refilled(self, state: DecodeState, prompt_kv: Any) -> tuple[Queue, Lanes, Any]:
        """Return the queue, the lanes and their prompts' keys and values after idle lanes have taken units."""
        if prompt_kv is None or not self.lanes_per_shard:
            return state.queue, state.lanes, state.cache.prompts
        axis = lane_axis(prompt_kv)
        refill = self._on_shards(lanes.refill, (0, 0, axis, axis, None), (0, 0, axis))
        queue, refilled, lane_prompts = refill(state.queue, state.lanes, prompt_kv, state.cache.prompts, state.slot)
        return queue, refilled, lane_prompts

    def _read(
        self, state: DecodeState, refilled: Lanes
    ) -> tuple[Int[Array, "L T"], Int[Array, "*L"], Int[Array, "L room"]]:
        """Return which tokens the decoder reads, and which columns of the cache it sees.

        Returns:
          The newest tokens, and the drafts after them.
          The column for what was read in the step before: of all lanes, or with drafts the first one of each lane.
          How many tokens each column lies before the newest token.
        """
        newest, columns = refilled.work.newest, jnp.arange(self.max_new_tokens + self.drafts)[None]
        if self.drafts:
            look_up = partial(speculation.look_up, number=self.drafts)
            drafted = self._on_shards(look_up, (0, 1), 0)(refilled, state.completions)
            return jnp.concatenate([newest, drafted], axis=1), refilled.read, refilled.age[:, None] - columns
        before, room = state.step - 1, self.max_new_tokens
        column = before % room
        return newest, column, jnp.broadcast_to(1 + (before - columns) % room, (len(newest), room))

    def _choose(
        self,
        logits: Float[Array, "B E V"],
        keys: Key[Array, " B"],
        samples: Int[Array, "B samples"],
        positions: Int[Array, "B E"],
    ) -> tuple[Int[Array, "B E"], Float[Array, "B E"]]:
        """Return the tokens that the noise of their counters chooses, and their log-probabilities.

        Args:
          keys: of the prompts.
          samples: which completions of their groups these are.
          positions: of the tokens in their completions.
        """
        allowed = filtered(logits, self.sampling)
        if not self.sampling.temperature:
            return likeliest(allowed)
        number = noise_size(logits.shape[-1])

        def drawn(key: Key[Array, ""], sample: Int[Array, ""], position: Int[Array, ""]) -> Float[Array, " number"]:
            return self.noise(key, sample, position, number, self.max_new_tokens)

        samples = jnp.broadcast_to(samples, positions.shape)
        return draw(allowed, jax.vmap(jax.vmap(drawn, (None, 0, 0)))(keys, samples, positions))

    def _rollouts(self, state: DecodeState, slot: Int[Array, ""]) -> Rollouts:
        """Put the completions of a batch's units together into groups."""
        prompts, completions = state.batch(slot)

        def grouped(leaf: Array) -> Array:
            return leaf.reshape(len(prompts.ids), self.group_size, *leaf.shape[2:])

        tokens, lengths = grouped(completions.tokens), grouped(completions.lengths)
        last = jnp.take_along_axis(tokens, lengths[..., None] - 1, axis=-1)[..., 0]
        return Rollouts(
            prompt_tokens=prompts.tokens,
            prompt_lengths=prompts.lengths,
            completion_tokens=tokens,
            completion_lengths=lengths,
            logprobs=grouped(completions.logprobs),
            stop_reasons=jnp.where(jnp.isin(last, self._stops), StopReason.STOP, StopReason.LENGTH),
        )

    @cached_property
    def _stops(self) -> Int[np.ndarray, " stops"]:
        return np.asarray(sorted(set(self.stop_tokens)), np.int32)

    def _on_shards(
        self, function: Callable[..., Any], in_axes: tuple[int | None, ...], out_axes: int | tuple[int, ...]
    ) -> Callable[..., Any]:
        """Map a function of one shard's lanes over the mesh; see `on_each_shard`."""
        return on_each_shard(self.policy.mesh, function, in_axes, out_axes)


def narrower(lanes: int) -> int:
    """Return how many lanes the next, narrower loop has; 0: there is none."""
    return lanes // NARROWER if lanes >= NARROWER * NARROWEST else 0
