"""Keys and values of earlier tokens while decoding: the completions of a lane share those of their prompt."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial, reduce
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from grpo_jax.policy.attention import MASKED, Attend, Scoring, precision, split_groups

KV = tuple[Array, Array]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Cache:
    """Keys and values of every layer, as the decoder returns them: a list, or a leading axis of layers on every leaf.

    Completions are written into a ring: at step s all lanes write column s mod C, whenever they began. A lane whose
    newest token has position `age` sees the last `age` columns that were written. So one write serves all lanes, and
    nothing is moved or cleared when a lane takes another unit.

    Layers only read the cache, and return keys and values of the token that they were given: `newest`. These are
    written at the start of the next step, for all layers at once, before anything reads the cache, so the compiler can
    write in place. If they were written at the end of their own step, beside reads of the same buffer, each step would
    copy the whole buffer. For the same reason a ring has one axis of completions, not an axis of lanes and one of a
    lane's completions: the compiler for CPU drops an axis of length 1 before a product, and then it would keep two
    copies of the ring, one for the product and one for the next step.
    """

    prompts: Any  # of KV [L, kv_heads, P, head_dim]
    completions: Any  # of keys [L*E, kv_heads, head_dim, C] and values [L*E, kv_heads, C, head_dim], lane by lane
    newest: Any  # of KV [L, E, kv_heads, head_dim]

    def contexts(self) -> Any:
        """Return the keys and values that each layer reads, in the form that the decoder takes."""
        if isinstance(self.prompts, list):
            return list(zip(self.prompts, self.completions, strict=True))
        return (self.prompts, self.completions)

    def write_newest(self, step: Int[Array, ""]) -> "Cache":
        """Return the cache with `newest`, from the step before this one, written to its column."""

        def write(axis: int, ring: Array, token: Array) -> Array:
            column = (step - 1) % ring.shape[axis]
            one_column = jnp.expand_dims(token.reshape(*ring.shape[:-2], -1), axis)
            return jax.lax.dynamic_update_slice_in_dim(ring, one_column, column, axis)

        rings = by_kind(partial(write, -1), partial(write, -2), self.completions, self.newest)
        return Cache(self.prompts, rings, self.newest)

    def take(self, rows: Int[Array, " L"]) -> "Cache":
        """Return the cache of these lanes."""
        axis = lane_axis(self.prompts)

        def of_lanes(leaf: Array) -> Array:
            return jnp.take(leaf, rows, axis=axis)

        def of_completions(ring: Array, token: Array) -> Array:
            by_lane = ring.reshape(*token.shape[: axis + 2], *ring.shape[axis + 1 :])
            return of_lanes(by_lane).reshape(*ring.shape[:axis], -1, *ring.shape[axis + 1 :])

        return Cache(
            prompts=jax.tree.map(of_lanes, self.prompts),
            completions=jax.tree.map(of_completions, self.completions, self.newest),
            newest=jax.tree.map(of_lanes, self.newest),
        )


def lane_axis(layers: Any) -> int:
    """Return the axis of lanes, or of prompts, in the leaves of a cache's fields."""
    return 0 if isinstance(layers, list) else 1


def by_kind(of_keys: Callable[..., Array], of_values: Callable[..., Array], *layers: Any) -> Any:
    """Return fields of a cache after a function of every layer's keys, and another of its values."""

    def of_layer(*layer: KV) -> KV:
        keys, values = zip(*layer, strict=True)
        return of_keys(*keys), of_values(*values)

    return list(map(of_layer, *layers)) if isinstance(layers[0], list) else of_layer(*layers)


def by_prompt(layers: Any) -> Any:
    """Return the decoder's keys and values, [N, P, kv_heads, head_dim], as the cache holds them."""
    return jax.tree.map(lambda keys: jnp.swapaxes(keys, -3, -2), layers)


def empty_cache(prompts: Any, completions: int, room: int) -> Cache:
    """Return a cache for lanes whose prompts have been prefilled.

    Args:
      prompts: keys and values of each lane's prompt, [L, kv_heads, P, head_dim].
      completions: E, the completions of a lane.
      room: C.
    """

    def ring_of_keys(keys: Array) -> Array:
        return jnp.swapaxes(ring(keys), -1, -2)

    def ring(keys: Array) -> Array:
        *layers, lanes, kv_heads, _, head_dim = keys.shape
        return jnp.zeros((*layers, lanes * completions, kv_heads, room, head_dim), keys.dtype)

    def token(keys: Array) -> Array:
        *lanes, kv_heads, _, head_dim = keys.shape
        return jnp.zeros((*lanes, completions, kv_heads, head_dim), keys.dtype)

    return Cache(prompts=prompts, completions=by_kind(ring_of_keys, ring, prompts), newest=jax.tree.map(token, prompts))


def copy_row(source: Any, row: Int[Array, ""], target: Any, lane: Int[Array, ""]) -> Any:
    """Return `target` with one prompt's keys and values of `source` in one lane."""
    axis = lane_axis(source)

    def copy(keys: Array, own: Array) -> Array:
        return jax.lax.dynamic_update_slice_in_dim(own, jax.lax.dynamic_slice_in_dim(keys, row, 1, axis), lane, axis)

    return jax.tree.map(copy, source, target)


def lane_attention(prompt_mask: Bool[Array, "L P"], age: Int[Array, " L"], step: Int[Array, ""]) -> Attend:
    """Return a function by which each completion's newest token attends to its prompt, its past, and itself.

    The decoder's rows are lanes and its T axis is a lane's completions, so a lane reads its prompt's keys once.

    Args:
      prompt_mask: the valid positions of the prompt, which come first.
      age: the newest token's position in its completion; the cache holds all tokens before it.
      step: of the decode loop; the tokens of the step before are the newest in the cache.
    """
    lengths = prompt_mask.sum(axis=-1)  # a completion's token 0 has this position

    def attend(
        q: Float[Array, "L E heads head_dim"],
        k: Float[Array, "L E kv_heads head_dim"],
        v: Float[Array, "L E kv_heads head_dim"],
        scoring: Scoring,
        context: tuple[KV, KV],
    ) -> Float[Array, "L E heads head_dim"]:
        (prompt_k, prompt_v), (past_k, past_v) = context
        exact = precision(q.dtype)
        # Lane l, its completion e, completion n of all, key-value head k, its query head r, feature h of a head,
        # position p or column c.
        grouped = split_groups(q, k.shape[2])
        by_lane, rows = grouped.shape[:-1], (len(past_k), *grouped.shape[2:-1])

        def scores(spec: str, queries: Array, keys: Array) -> Array:
            products = jnp.einsum(spec, queries, keys, precision=exact, preferred_element_type=jnp.float32)
            return scoring.scores(products.reshape(*by_lane, -1))

        def weighted(spec: str, weights: Array, values: Array) -> Array:
            return jnp.einsum(
                spec, weights.astype(v.dtype), values, precision=exact, preferred_element_type=jnp.float32
            )

        # Products of single vectors, which compilers make neither fast nor part of something else if they are `dot`s.
        own_k, own_v = k[:, :, :, None, :], v[:, :, :, None, :]
        of_self = (grouped.astype(jnp.float32) * own_k.astype(jnp.float32)).sum(axis=-1, keepdims=True)

        room = past_v.shape[-2]
        in_prompt = jnp.arange(prompt_k.shape[-2])[None]
        since = 1 + (step - 1 - jnp.arange(room)) % room  # steps since each column was written
        back = jnp.broadcast_to(since, (len(age), room))
        sees_prompt = scoring.within(prompt_mask, (lengths + age)[:, None] - in_prompt)[:, None, None, None]
        sees_past = scoring.within(back <= age[:, None], back)[:, None, None, None]
        of_prompt = jnp.where(sees_prompt, scores("lekrh,lkph->lekrp", grouped, prompt_k), MASKED)
        past = scores("nkrh,nkhc->nkrc", grouped.reshape(*rows, -1), past_k)
        of_past = jnp.where(sees_past, past, MASKED)
        # The softmax over all three, whose denominator comes last: the parts are never joined, nor divided one by one.
        parts = (of_prompt, of_past, scoring.scores(of_self))
        top = reduce(jnp.maximum, [part.max(axis=-1, keepdims=True) for part in parts])
        to_prompt, to_past, to_self = (jnp.exp(part - top) for part in parts)
        total = to_prompt.sum(axis=-1, keepdims=True) + to_past.sum(axis=-1, keepdims=True) + to_self
        by_past = weighted("nkrc,nkch->nkrh", to_past.reshape(*rows, room), past_v).reshape(grouped.shape)
        # The order of axes decides whether einsum multiplies values by weights, or weights by values. On a CPU jaxlib
        # 0.12 can do only the second in bfloat16. In float32 it would round differently from earlier runs.
        if v.dtype == jnp.float32:
            by_prompt = weighted("lekrp,lkph->lekrh", to_prompt, prompt_v)
        else:
            by_prompt = jnp.swapaxes(weighted("lekrp,lkph->lkerh", to_prompt, prompt_v), 1, 2)
        return ((by_prompt + by_past + to_self * own_v) / total).astype(v.dtype).reshape(q.shape)

    return attend
