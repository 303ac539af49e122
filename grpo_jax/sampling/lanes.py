"""Lanes: the places in which completions are decoded, and the queue of those that wait for a place.

A lane works on one unit: a completion, or a whole group. When all completions of the unit have stopped, the lane takes
the next unit from the queue, inside the decode loop, without the host. The queue holds units of the newest batch of
prompts. Lanes may still work on units of earlier batches, so several batches are in flight, each in a slot.

Each shard of a batch has lanes and a queue of its own. The functions below work on one shard, so nothing moves between
devices; `sampler.py` and `decode_state.py` map them over the mesh.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from grpo_jax.sampling.cache import Cache, copy_row, empty_cache, lane_axis

# Assumptions of `automatic_lanes`.
SHARE = 1 / 4  # mean length as a share of max_new_tokens; the paper's completions have some 600 tokens of 3,072
SHORTEST_ROOM = 64  # tokens
LEAST_SAVED = 0.2
MULTIPLE = 8  # the number of lanes is a multiple of this, because matrix products compute eight rows at a time
WIDE_ON_CPU = 6  # rows that cost as much as the fixed part of a step: 2 for the model of the demo, 8 for SmolLM2
BALANCE = 256  # rows whose products take an accelerator as long as reading the parameters


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True)
class Units:
    """Units of work, each a completion or more of one prompt."""

    prompt: Int[Any, " U"]  # its place in the shard
    prompt_length: Int[Any, " U"]
    key: Key[Any, " U"]  # of the prompt
    sample: Int[Any, "U E"]  # which completions of its group these are
    newest: Int[Any, "U E"]  # token
    stopped: Bool[Any, "U E"]
    text: Any  # Int[U text], in which drafts are looked up; None: there are no drafts


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True)
class Queue:
    """Units of the newest batch as they are after their first tokens, and the order in which lanes take them."""

    units: Units
    order: Int[Any, " U"]  # units that need no second token come last
    number: Int[Any, " shards"]  # of units that do
    head: Int[Any, " shards"]  # how many of them lanes have taken


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True)
class Lanes:
    """The units that are decoded now."""

    slot: Int[Any, " L"]  # of the unit's batch
    unit: Int[Any, " L"]  # its place in the batch; any number for an idle lane
    age: Int[Any, " L"]  # the newest token's position in its completion
    read: Int[Any, " L"]  # the position of the first token that the decoder read in the step before
    work: Units  # [L]

    def idle(self) -> Bool[Array, " L"]:
        """Return a mask of the lanes that have nothing left to decode."""
        return self.work.stopped.all(axis=-1)


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True)
class Completions:
    """The completions of all units of the batches in flight, as far as they have been sampled."""

    tokens: Int[Any, "*W U E C"]
    logprobs: Float[Any, "*W U E C"]
    lengths: Int[Any, "*W U E"]  # the stop token included


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True)
class Left:
    """How many units are not finished."""

    waiting: Int[Any, " shards"]
    decoded: Int[Any, " shards"]  # those that lanes work on
    oldest: Int[Any, " shards"]  # those of them that belong to the oldest batch in flight


def each_group_has_a_lane(lanes: int, prompts: int, group_size: int, drafts: int = 0) -> bool:
    """Return whether no completion of a shard has to wait; then a lane takes a whole group, if there are no drafts.

    Args:
      lanes: of the shard, at most; 0: any number.
      prompts: of the shard.
      group_size: G.
      drafts: that follow each newest token. Right ones let a completion overtake the others of its group.
    """
    return not drafts and not 0 < lanes < prompts * group_size


def automatic_lanes(
    completions: int,
    batch: int,
    *,
    prompt_tokens: int,
    room: int,
    accelerated: bool,
    parameters: int,
    cached_per_token: int,
) -> int:
    """Return how many lanes a shard should have; 0: whole batches should be decoded, with a lane for each group.

    A step of L lanes takes the time of a fixed part and of L rows; `WIDE` says how many rows cost as much as the fixed
    part. On accelerators a step reads the parameters once, and the cached keys and values of every lane. Lanes decode
    completions x mean length / L steps, and then up to `room` more while they run dry. L is chosen so that the product
    is least, for a mean length of `room` x `SHARE`, and no larger than the cache of a whole batch. There are none if
    they would not save `LEAST_SAVED` of the time that whole batches take, or if `room` is short: a short room
    is usually chosen to fit the completions, so lengths differ little.

    Args:
      completions: of the request, on the shard.
      batch: completions of a batch, on the shard.
      prompt_tokens: P.
      room: C.
      accelerated: whether the devices are accelerators, not CPUs.
      parameters: of the policy.
      cached_per_token: elements of its keys and values.
    """
    row = cached_per_token * (prompt_tokens + room) / parameters + 1 / BALANCE  # in readings of all parameters
    wide = 1 / row if accelerated else WIDE_ON_CPU
    most = batch * room // (prompt_tokens + room)
    best = int(min(math.sqrt(SHARE * completions * wide), most)) // MULTIPLE * MULTIPLE
    if not best or room < SHORTEST_ROOM:
        return 0
    of_lanes = (SHARE * completions / best + 1) * (wide + best)
    of_batches = math.ceil(completions / batch) * (wide + batch)
    return best if of_lanes < (1 - LEAST_SAVED) * of_batches else 0


def batches_in_flight(lanes: int, batch: int, batches: int) -> int:
    """Return how many batches of a request should be in flight, so that lanes seldom wait for the oldest to finish.

    Args:
      lanes: of a shard.
      batch: completions of a batch, on the shard.
      batches: of the request.
    """
    return min(batches, 1 + math.ceil(lanes / (SHARE * batch)))


def cached_tokens(lanes: int, *, prompts: int, group_size: int, prompt_tokens: int, room: int, drafts: int = 0) -> int:
    """Return how many tokens' keys and values a shard has room for while sampling.

    Args:
      lanes: of the shard, at most; 0: any number.
      prompts: of the shard.
      group_size: G.
      prompt_tokens: P.
      room: C.
      drafts: as `each_group_has_a_lane` takes them. With drafts there have to be lanes.
    """
    waiting = prompts * prompt_tokens
    if each_group_has_a_lane(lanes, prompts, group_size, drafts):
        return waiting + prompts * group_size * room
    return waiting + lanes * (prompt_tokens + room + drafts)


def full_length_steps(lanes: int, *, prompts: int, group_size: int, room: int, drafts: int = 0) -> tuple[int, float]:
    """Return a shard's decode steps if all completions have full length, and how many units a step's lanes take.

    Args:
      lanes: of the shard, at most; 0: any number.
      prompts: of the shard.
      group_size: G.
      room: C.
      drafts: as `cached_tokens` takes them. None of them is right.
    """
    if each_group_has_a_lane(lanes, prompts, group_size, drafts):
        return room - 1, 0.0
    completions = prompts * group_size
    steps = -(-completions // lanes) * (room - 1)
    return steps, completions / max(steps, 1)


def make_queue(units: Units) -> Queue:
    """Return the queue of units that no lane has taken."""
    finished = units.stopped.all(axis=-1)
    return Queue(
        units=units,
        order=jnp.argsort(finished, stable=True),
        number=(~finished).sum()[None],
        head=jnp.zeros(1, jnp.int32),
    )


def lane_per_unit(units: Units, prompts: Any, *, room: int) -> tuple[Queue, Lanes, Cache]:
    """Return an empty queue, a lane for each unit, and an empty cache.

    Args:
      units: after their first tokens.
      prompts: keys and values of the shard's prompts, as `Cache.prompts`.
      room: C.
    """
    total, completions = units.sample.shape
    zeros = jnp.zeros(total, jnp.int32)
    # If every prompt has just one unit, the prompts' keys are already where the lanes read them.
    axis = lane_axis(prompts)
    in_place = total == jax.tree.leaves(prompts)[0].shape[axis]
    own = prompts if in_place else jax.tree.map(lambda leaf: jnp.take(leaf, units.prompt, axis=axis), prompts)
    return (
        Queue(units=units, order=jnp.arange(total), number=jnp.zeros(1, jnp.int32), head=jnp.zeros(1, jnp.int32)),
        Lanes(slot=zeros, unit=jnp.arange(total), age=zeros, read=zeros, work=units),
        empty_cache(own, completions, room),
    )


def idle_lanes(units: Units, prompts: Any, *, lanes: int, room: int, drafts: int) -> tuple[Lanes, Cache]:
    """Return lanes without work, and an empty cache.

    Args:
      units: one or more, all of them stopped.
      prompts: keys and values of one or more prompts.
      lanes: L.
      room: C.
      drafts: as `empty_cache` takes it.
    """
    zeros = jnp.zeros(lanes, jnp.int32)
    own = jax.tree.map(lambda leaf: jnp.take(leaf, zeros, axis=lane_axis(prompts)), prompts)
    return (
        Lanes(slot=zeros, unit=zeros, age=zeros, read=zeros, work=_at(units, zeros)),
        empty_cache(own, units.sample.shape[1], room, drafts),
    )


def refill(queue: Queue, lanes: Lanes, prompts: Any, own: Any, slot: Int[Array, ""]) -> tuple[Queue, Lanes, Any]:
    """Return the queue, the lanes and their prompts' keys and values after idle lanes have taken the next units.

    Args:
      prompts: keys and values of the shard's prompts.
      own: those of each lane's prompt. They are written in place, one lane after the other, because at most about one
        lane in ten takes a unit at a step, and `where` over old and new ones would rewrite all.
      slot: of the queue's batch.
    """
    idle = lanes.idle()
    place = queue.head + jnp.cumsum(idle) - 1
    takes = idle & (place < queue.number)
    unit = jnp.where(takes, jnp.take(queue.order, place, mode="clip"), lanes.unit)
    fresh = _at(queue.units, unit)
    number = takes.sum()
    first = jnp.argsort(~takes, stable=True)  # the lanes that take a unit

    def write(index: Int[Array, ""], own: Any) -> Any:
        return copy_row(prompts, fresh.prompt[first[index]], own, first[index])

    own = jax.lax.fori_loop(0, number, write, own)
    work = jax.tree.map(lambda new, old: jnp.where(_like(takes, new), new, old), fresh, lanes.work)
    age, slot = jnp.where(takes, 0, lanes.age), jnp.where(takes, slot, lanes.slot)
    return replace(queue, head=queue.head + number), replace(lanes, slot=slot, unit=unit, age=age, work=work), own


def record(
    lanes: Lanes,
    completions: Completions,
    token: Int[Array, "L E new"],
    logprob: Float[Array, "L E new"],
    ends: Bool[Array, "L E new"],
    kept: Bool[Array, "L new"],
) -> tuple[Lanes, Completions]:
    """Return the lanes and the completions with their next tokens.

    Args:
      token: the next ones of each lane's completions.
      logprob: of these tokens.
      ends: whether the completion ends with the token, if it has not ended before.
      kept: which tokens count: the first, and any number of those that follow it. No kept one follows an end.
    """
    _, units, _, room = completions.tokens.shape
    at = lanes.age[:, None] + 1 + jnp.arange(token.shape[2])[None]
    kept &= at < room
    number = jnp.maximum(kept.sum(axis=-1), 1)
    age, stopped = lanes.age + number, lanes.work.stopped
    # A token that is not kept, or of a completion that has stopped, gets a place outside the array: it is not written.
    written = kept[:, None] & ~stopped[..., None]
    unit = jnp.where(written, lanes.unit[:, None, None], units)
    place = (lanes.slot[:, None, None], unit, jnp.arange(token.shape[1])[:, None])
    newest = jnp.take_along_axis(token, (number - 1)[:, None, None], axis=-1)[..., 0]
    ended = (ends & kept[:, None]).any(axis=-1) | (age + 1 == room)[:, None]
    lanes = replace(lanes, age=age, read=lanes.age, work=replace(lanes.work, newest=newest, stopped=stopped | ended))
    return lanes, Completions(
        tokens=completions.tokens.at[*place, at[:, None]].set(token, mode="drop"),
        logprobs=completions.logprobs.at[*place, at[:, None]].set(logprob, mode="drop"),
        lengths=completions.lengths.at[place].add(1, mode="drop"),
    )


def left(queue: Queue, lanes: Lanes, oldest: Int[Array, ""]) -> Left:
    """Return how many units are not finished.

    Args:
      oldest: the slot of the oldest batch in flight.
    """
    busy = ~lanes.idle()
    return Left(
        waiting=queue.number - queue.head,
        decoded=busy.sum()[None],
        oldest=(busy & (lanes.slot == oldest)).sum()[None],
    )


def narrow(lanes: Lanes, cache: Cache, *, width: int) -> tuple[Lanes, Cache]:
    """Return as many lanes as `width`, those that are not idle first."""
    keep = jnp.argsort(lanes.idle(), stable=True)[:width]
    return jax.tree.map(lambda leaf: leaf[keep], lanes), cache.take(keep)


def _at(units: Units, unit: Int[Array, " L"]) -> Units:
    return jax.tree.map(lambda leaf: leaf[unit], units)


def _like(rows: Bool[Array, " L"], leaf: Array) -> Array:
    return rows.reshape(-1, *(1,) * (leaf.ndim - 1))
