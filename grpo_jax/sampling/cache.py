"""Keys and values of earlier tokens while decoding: the completions of a lane share those of their prompt."""

from dataclasses import dataclass
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
    completions: Any  # of KV [L*E, kv_heads, C, head_dim], lane by lane
    newest: Any  # of KV [L, E, kv_heads, head_dim]

    def contexts(self) -> Any:
        """Return the keys and values that each layer reads, in the form that the decoder takes."""
        if isinstance(self.prompts, list):
            return list(zip(self.prompts, self.completions, strict=True))
        return (self.prompts, self.completions)

    def write_newest(self, step: Int[Array, ""]) -> "Cache":
        """Return the cache with `newest`, from the step before this one, written to its column."""

        def write(ring: Array, token: Array) -> Array:
            axis = ring.ndim - 2
            column = (step - 1) % ring.shape[axis]
            one_column = token.reshape(*ring.shape[:axis], 1, ring.shape[-1])
            return jax.lax.dynamic_update_slice_in_dim(ring, one_column, column, axis)

        return Cache(self.prompts, jax.tree.map(write, self.completions, self.newest), self.newest)

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

    def ring(keys: Array) -> Array:
        *layers, lanes, kv_heads, _, head_dim = keys.shape
        return jnp.zeros((*layers, lanes * completions, kv_heads, room, head_dim), keys.dtype)

    def token(keys: Array) -> Array:
        *lanes, kv_heads, _, head_dim = keys.shape
        return jnp.zeros((*lanes, completions, kv_heads, head_dim), keys.dtype)

    return Cache(prompts=prompts, completions=jax.tree.map(ring, prompts), newest=jax.tree.map(token, prompts))


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

        room = past_k.shape[-2]
        in_prompt = jnp.arange(prompt_k.shape[-2])[None]
        since = 1 + (step - 1 - jnp.arange(room)) % room  # steps since each column was written
        back = jnp.broadcast_to(since, (len(age), room))
        sees_prompt = scoring.within(prompt_mask, (lengths + age)[:, None] - in_prompt)[:, None, None, None]
        sees_past = scoring.within(back <= age[:, None], back)[:, None, None, None]
        of_prompt = jnp.where(sees_prompt, scores("lekrh,lkph->lekrp", grouped, prompt_k), MASKED)
        past = scores("nkrh,nkch->nkrc", grouped.reshape(*rows, -1), past_k)
        of_past = jnp.where(sees_past, past, MASKED)
        of_self = scores("lekrh,lekh->lekr", grouped, k)
        weights = jax.nn.softmax(jnp.concatenate([of_prompt, of_past, of_self], axis=-1), axis=-1).astype(v.dtype)
        to_prompt, to_past, to_self = jnp.split(weights, [prompt_mask.shape[1], weights.shape[-1] - 1], axis=-1)
        by_past = jnp.einsum("nkrc,nkch->nkrh", to_past.reshape(*rows, room), past_v, precision=exact)
        seen = (
            jnp.einsum("lekrp,lkph->lekrh", to_prompt, prompt_v, precision=exact)
            + by_past.reshape(grouped.shape)
            + to_self * v[:, :, :, None, :]
        )
        return seen.reshape(q.shape)

    return attend
