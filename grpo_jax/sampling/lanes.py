"""Lanes: the places in which completions are decoded, and the queue of those that wait for a place.

A lane works on one unit: a completion, or a whole group. When all completions of the unit have stopped, the lane takes
the next unit from the queue, inside the decode loop, without the host. The queue holds units of the newest batch of
prompts. Lanes may still work on units of earlier batches, so several batches are in flight, each in a slot.

Each shard of a batch has lanes and a queue of its own. The functions below work on one shard, so nothing moves between
devices; `sampler.py` and `decode_state.py` map them over the mesh.
"""

from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from grpo_jax.sampling.cache import Cache, copy_row, empty_cache, lane_axis


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True)
class Units:
    """Units of work: each is one completion or more of one prompt."""

    prompt: Int[Any, " U"]  # its index in the shard
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
    number: Int[Any, " shards"]  # of the other units
    head: Int[Any, " shards"]  # how many of these lanes have taken


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True)
class Lanes:
    """The units that are decoded now."""

    slot: Int[Any, " L"]  # of the unit's batch
    unit: Int[Any, " L"]  # its index in the batch; any number for an idle lane
    age: Int[Any, " L"]  # the newest token's position in its completion
    read: Int[Any, " L"]  # the position of the first token that the decoder read in the step before
    work: Units  # [L]

    def idle(self) -> Bool[Array, " L"]:
        """Return a mask of the lanes that have nothing left to decode."""
        return self.work.stopped.all(axis=-1)


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True)
class CompletionArrays:
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
    lane_prompts = prompts if in_place else jax.tree.map(lambda leaf: jnp.take(leaf, units.prompt, axis=axis), prompts)
    return (
        Queue(units=units, order=jnp.arange(total), number=jnp.zeros(1, jnp.int32), head=jnp.zeros(1, jnp.int32)),
        Lanes(slot=zeros, unit=jnp.arange(total), age=zeros, read=zeros, work=units),
        empty_cache(lane_prompts, completions, room),
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
    lane_prompts = jax.tree.map(lambda leaf: jnp.take(leaf, zeros, axis=lane_axis(prompts)), prompts)
    return (
        Lanes(slot=zeros, unit=zeros, age=zeros, read=zeros, work=_at(units, zeros)),
        empty_cache(lane_prompts, units.sample.shape[1], room, drafts),
    )


def refill(
    queue: Queue, lanes: Lanes, prompts: Any, lane_prompts: Any, slot: Int[Array, ""]
) -> tuple[Queue, Lanes, Any]:
    """Return the queue, the lanes and their prompts' keys and values after idle lanes have taken the next units.

    Args:
      prompts: keys and values of the shard's prompts.
      lane_prompts: those of each lane's prompt. They are written in place, one lane after the other, because at most
        about one lane in ten takes a unit at a step, and `where` over old and new ones would rewrite all.
      slot: of the queue's batch.
    """
    idle = lanes.idle()
    turn = queue.head + jnp.cumsum(idle) - 1  # of the unit that the lane takes if it is idle
    takes = idle & (turn < queue.number)
    unit = jnp.where(takes, jnp.take(queue.order, turn, mode="clip"), lanes.unit)
    fresh = _at(queue.units, unit)
    number = takes.sum()
    first = jnp.argsort(~takes, stable=True)  # the lanes that take a unit

    def write(index: Int[Array, ""], lane_prompts: Any) -> Any:
        return copy_row(prompts, fresh.prompt[first[index]], lane_prompts, first[index])

    lane_prompts = jax.lax.fori_loop(0, number, write, lane_prompts)
    work = jax.tree.map(lambda new, old: jnp.where(_like(takes, new), new, old), fresh, lanes.work)
    age, slot = jnp.where(takes, 0, lanes.age), jnp.where(takes, slot, lanes.slot)
    lanes = replace(lanes, slot=slot, unit=unit, age=age, work=work)
    return replace(queue, head=queue.head + number), lanes, lane_prompts


def record(
    lanes: Lanes,
    completions: CompletionArrays,
    token: Int[Array, "L E new"],
    logprob: Float[Array, "L E new"],
    ends: Bool[Array, "L E new"],
    kept: Bool[Array, "L new"],
) -> tuple[Lanes, CompletionArrays]:
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
    # A token that is not kept, or of a completion that has stopped, gets an index outside the array: it is not written.
    written = kept[:, None] & ~stopped[..., None]
    unit = jnp.where(written, lanes.unit[:, None, None], units)
    completion = (lanes.slot[:, None, None], unit, jnp.arange(token.shape[1])[:, None])
    newest = jnp.take_along_axis(token, (number - 1)[:, None, None], axis=-1)[..., 0]
    ended = (ends & kept[:, None]).any(axis=-1) | (age + 1 == room)[:, None]
    lanes = replace(lanes, age=age, read=lanes.age, work=replace(lanes.work, newest=newest, stopped=stopped | ended))
    return lanes, CompletionArrays(
        tokens=completions.tokens.at[*completion, at[:, None]].set(token, mode="drop"),
        logprobs=completions.logprobs.at[*completion, at[:, None]].set(logprob, mode="drop"),
        lengths=completions.lengths.at[completion].add(1, mode="drop"),
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
    """Return `width` of the lanes: those that are not idle, and idle ones if these are fewer."""
    keep = jnp.argsort(lanes.idle(), stable=True)[:width]
    return jax.tree.map(lambda leaf: leaf[keep], lanes), cache.take(keep)


def _at(units: Units, unit: Int[Array, " L"]) -> Units:
    return jax.tree.map(lambda leaf: leaf[unit], units)


def _like(rows: Bool[Array, " L"], leaf: Array) -> Array:
    return rows.reshape(-1, *(1,) * (leaf.ndim - 1))
