"""Lanes: the places in which completions are decoded, and the queue of those that wait for a place.

A lane works on one unit: a completion, or a whole group. When all completions of the unit have stopped, the lane takes
the next unit from the queue, inside the decode loop, without the host. Each shard of a batch has lanes and a queue of
its own. The functions below work on one shard, so nothing moves between devices; `sampler.py` maps them over the mesh.
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
    """Units of work, each a completion or more of one prompt."""

    prompt: Int[Array, " U"]  # its place in the shard
    prompt_length: Int[Array, " U"]
    key: Key[Array, " U"]  # of the prompt
    sample: Int[Array, "U E"]  # which completions of its group these are
    newest: Int[Array, "U E"]  # token
    stopped: Bool[Array, "U E"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True)
class Queue:
    """Units as they are after their first tokens, and the order in which lanes take them."""

    units: Units
    order: Int[Array, " U"]  # units that need no second token come last
    number: Int[Array, " shards"]  # of units that do
    head: Int[Array, " shards"]  # how many of them lanes have taken


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True)
class Lanes:
    """The units that are decoded now."""

    unit: Int[Array, " L"]  # an idle lane's is any
    age: Int[Array, " L"]  # the newest token's position in its completion
    work: Units  # [L]

    def idle(self) -> Bool[Array, " L"]:
        """Return which lanes have nothing left to decode."""
        return self.work.stopped.all(axis=-1)


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True)
class Completions:
    """All units' completions, as far as they have been sampled."""

    tokens: Int[Array, "U E C"]
    logprobs: Float[Array, "U E C"]
    lengths: Int[Array, "U E"]  # the stop token included


def each_group_has_a_lane(lanes: int, prompts: int, group_size: int) -> bool:
    """Return whether no completion of a shard has to wait; then a lane takes a whole group.

    Args:
      lanes: of the shard, at most; 0: any number.
      prompts: of the shard.
      group_size: G.
    """
    return not 0 < lanes < prompts * group_size


def cached_tokens(lanes: int, *, prompts: int, group_size: int, prompt_tokens: int, room: int) -> int:
    """Return how many tokens' keys and values a shard has room for while sampling.

    Args:
      lanes: of the shard, at most; 0: any number.
      prompts: of the shard.
      group_size: G.
      prompt_tokens: P.
      room: C.
    """
    waiting = prompts * prompt_tokens
    if each_group_has_a_lane(lanes, prompts, group_size):
        return waiting + prompts * group_size * room
    return waiting + lanes * (prompt_tokens + room)


def full_length_steps(lanes: int, *, prompts: int, group_size: int, room: int) -> tuple[int, float]:
    """Return a shard's decode steps if all completions have full length, and how many units a step's lanes take.

    Args:
      lanes: of the shard, at most; 0: any number.
      prompts: of the shard.
      group_size: G.
      room: C.
    """
    if each_group_has_a_lane(lanes, prompts, group_size):
        return room - 1, 0.0
    completions = prompts * group_size
    steps = -(-completions // lanes) * (room - 1)
    return steps, (completions - lanes) / max(steps, 1)


def start(units: Units, prompts: Any, *, lanes: int, room: int) -> tuple[Queue, Lanes, Cache, Int[Array, " shards"]]:
    """Return the queue, the lanes with their first units, an empty cache, and the number of units that are left.

    Args:
      units: after their first tokens.
      prompts: keys and values of the shard's prompts, as `Cache.prompts`.
      lanes: L, at most as many as there are units.
      room: C.
    """
    total, completions = units.sample.shape
    finished = units.stopped.all(axis=-1)
    number = (~finished).sum()[None]
    order = jnp.argsort(finished, stable=True) if lanes < total else jnp.arange(total)
    unit = order[:lanes]
    work = _at(units, unit)  # a unit that its first token ended leaves its lane idle
    # If every prompt has just one unit and every unit a lane, the prompts' keys are already where the lanes read them.
    axis = lane_axis(prompts)
    in_place = lanes == total == jax.tree.leaves(prompts)[0].shape[axis]
    own = prompts if in_place else jax.tree.map(lambda leaf: jnp.take(leaf, work.prompt, axis=axis), prompts)
    return (
        Queue(units=units, order=order, number=number, head=jnp.minimum(number, lanes)),
        Lanes(unit=unit, age=jnp.zeros(lanes, jnp.int32), work=work),
        empty_cache(own, completions, room),
        number,
    )


def refill(queue: Queue, lanes: Lanes, prompts: Any, own: Any) -> tuple[Queue, Lanes, Any]:
    """Return the queue, the lanes and their prompts' keys and values after idle lanes have taken the next units.

    Args:
      prompts: keys and values of the shard's prompts.
      own: those of each lane's prompt. They are written in place, one lane after the other: at most one lane in some
        ten needs it at a step, and a choice between old and new ones would rewrite all.
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
    return (
        replace(queue, head=queue.head + number),
        Lanes(unit=unit, age=jnp.where(takes, 0, lanes.age), work=work),
        own,
    )


def record(
    queue: Queue,
    lanes: Lanes,
    completions: Completions,
    token: Int[Array, "L E"],
    logprob: Float[Array, "L E"],
    ends: Bool[Array, "L E"],
) -> tuple[Lanes, Completions, Int[Array, " shards"]]:
    """Return the lanes, the completions and the number of units that are left, one token later.

    Args:
      token: the next one of each lane's completions.
      logprob: of these tokens.
      ends: whether the completion ends with the token, if it has not ended before.
    """
    age, stopped = lanes.age + 1, lanes.work.stopped
    # A completion that has stopped gets a place outside the array, so nothing is written for it.
    unit = jnp.where(stopped, len(completions.tokens), lanes.unit[:, None])
    which = jnp.arange(token.shape[1])
    done = stopped | ends | (age + 1 == completions.tokens.shape[-1])[:, None]
    lanes = replace(lanes, age=age, work=replace(lanes.work, newest=token, stopped=done))
    completions = Completions(
        tokens=completions.tokens.at[unit, which, age[:, None]].set(token, mode="drop"),
        logprobs=completions.logprobs.at[unit, which, age[:, None]].set(logprob, mode="drop"),
        lengths=completions.lengths.at[unit, which].add(1, mode="drop"),
    )
    return lanes, completions, (~lanes.idle()).sum() + queue.number - queue.head


def narrow(lanes: Lanes, cache: Cache, *, width: int) -> tuple[Lanes, Cache]:
    """Return as many lanes as `width`, those that are not idle first."""
    keep = jnp.argsort(lanes.idle(), stable=True)[:width]
    return jax.tree.map(lambda leaf: leaf[keep], lanes), cache.take(keep)


def _at(units: Units, unit: Int[Array, " L"]) -> Units:
    return jax.tree.map(lambda leaf: leaf[unit], units)


def _like(rows: Bool[Array, " L"], leaf: Array) -> Array:
    return rows.reshape(-1, *(1,) * (leaf.ndim - 1))
