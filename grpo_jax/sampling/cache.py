"""Keys and values of earlier tokens while decoding: the completions of a lane share those of their prompt."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial, reduce
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from grpo_jax.policy.attention import KV, MASKED, Attend, Scoring, precision, split_groups


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Cache:
    """Keys and values of every layer, as the decoder returns them: a list, or a leading axis of layers on every leaf.

    Completions are written into a ring: at step s all lanes write column s mod C, whenever they began. A lane whose
    newest token has position `age` sees the last `age` columns that were written. So one write serves all lanes, and
    nothing is moved or cleared when a lane takes another unit.

    Lanes that also read drafts (`speculation.py`) advance by different numbers of tokens, so each has columns of its
    own: column c holds position c, and a lane sees the columns before `age`. Keys and values of refused drafts lie
    behind them, and the next ones are written over them.

    Layers only read the cache, and return keys and values of the token that they were given: `newest`. These are
    written at the start of the next step, for all layers at once, before anything reads the cache, so the compiler can
    write in place. If they were written at the end of their own step, beside reads of the same buffer, each step would
    copy the whole buffer. For the same reason a ring has one axis of completions, not an axis of lanes and one of a
    lane's completions: the compiler for CPU drops an axis of length 1 before a product, and then it would keep two
    copies of the ring, one for the product and one for the next step.
    """

    prompts: Any  # of KV [L, kv_heads, P, head_dim]
    completions: Any  # of keys [L*E, kv_heads, head_dim, C] and values [L*E, kv_heads, C, head_dim], lane by lane
    newest: Any  # of KV [L, E, kv_heads, head_dim]; with drafts [L, window, kv_heads, head_dim]

    def contexts(self) -> Any:
        """Return the keys and values that each layer reads, in the form that the decoder takes."""
        if isinstance(self.prompts, list):
            return list(zip(self.prompts, self.completions, strict=True))
        return (self.prompts, self.completions)

    def write_newest(self, column: Int[Array, "*L"]) -> "Cache":
        """Return the cache with `newest`, from the step before this one, written to its columns.

        Args:
          column: of all lanes; with drafts the first one of each lane.
        """

        def write(axis: int, ring: Array, token: Array) -> Array:
            one_column = jnp.expand_dims(token.reshape(*ring.shape[:-2], -1), axis)
            return jax.lax.dynamic_update_slice_in_dim(ring, one_column, column, axis)

        def write_window(axis: int, columns: Array, tokens: Array) -> Array:
            def of_lane(columns: Array, tokens: Array, first: Array) -> Array:
                return jax.lax.dynamic_update_slice_in_dim(columns, tokens, first, axis)

            lanes = lane_axis(self.prompts)
            return jax.vmap(of_lane, (lanes, lanes, 0), lanes)(columns, jnp.moveaxis(tokens, -3, axis), column)

        put = write_window if column.ndim else write
        return replace(self, completions=by_kind(partial(put, -1), partial(put, -2), self.completions, self.newest))

    def take(self, rows: Int[Array, " L"]) -> "Cache":
        """Return the cache of these lanes."""
        axis = lane_axis(self.prompts)

        def of_lanes(leaf: Array) -> Array:
            return jnp.take(leaf, rows, axis=axis)

        def of_completions(ring: Array, token: Array) -> Array:
            by_lane = ring.reshape(*token.shape[: axis + 1], -1, *ring.shape[axis + 1 :])
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
    """Return fields of a cache, made by one function from every layer's keys and by another from its values."""

    def of_layer(*layer: KV) -> KV:
        keys, values = zip(*layer, strict=True)
        return of_keys(*keys), of_values(*values)

    return list(map(of_layer, *layers)) if isinstance(layers[0], list) else of_layer(*layers)


def by_prompt(layers: Any) -> Any:
    """Return the decoder's keys and values, [N, P, kv_heads, head_dim], as the cache holds them."""
    return jax.tree.map(lambda keys: jnp.swapaxes(keys, -3, -2), layers)


def empty_cache(prompts: Any, completions: int, room: int, drafts: int = 0) -> Cache:
    """Return a cache for lanes whose prompts have been prefilled.

    Args:
      prompts: keys and values of each lane's prompt, [L, kv_heads, P, head_dim].
      completions: E, the completions of a lane; 1 if there are drafts.
      room: C.
      drafts: how many drafts a lane reads after its newest token.
    """

    def ring_of_keys(keys: Array) -> Array:
        return jnp.swapaxes(ring(keys), -1, -2)

    def ring(keys: Array) -> Array:
        *layers, lanes, kv_heads, _, head_dim = keys.shape
        return jnp.zeros((*layers, lanes * completions, kv_heads, room + drafts, head_dim), keys.dtype)

    def token(keys: Array) -> Array:
        *lanes, kv_heads, _, head_dim = keys.shape
        return jnp.zeros((*lanes, completions + drafts, kv_heads, head_dim), keys.dtype)

    return Cache(prompts=prompts, completions=by_kind(ring_of_keys, ring, prompts), newest=jax.tree.map(token, prompts))


def copy_row(source: Any, row: Int[Array, ""], target: Any, lane: Int[Array, ""]) -> Any:
    """Return `target` with one prompt's keys and values of `source` in one lane."""
    axis = lane_axis(source)

    def copy(keys: Array, own: Array) -> Array:
        return jax.lax.dynamic_update_slice_in_dim(own, jax.lax.dynamic_slice_in_dim(keys, row, 1, axis), lane, axis)

    return jax.tree.map(copy, source, target)


def lane_attention(
    prompt_mask: Bool[Array, "L P"], age: Int[Array, " L"], back: Int[Array, "L room"], drafts: int = 0
) -> Attend:
    """Return a function by which each completion's newest token, and drafts after it, attend to all that came before.

    The decoder's rows are lanes and its T axis is a lane's completions, so a lane reads its prompt's keys once. With
    drafts a lane has one completion, and the T axis is a window: its newest token, and the drafts.

    Args:
      prompt_mask: the valid positions of the prompt, which come first.
      age: the newest token's position in its completion; the cache holds all tokens before it.
      back: how many tokens each column of the cache lies before the newest token. Those from 1 to `age` are seen.
      drafts: how many drafts a window holds.
    """
    lengths = prompt_mask.sum(axis=-1)  # a completion's token 0 has this position
    window = jnp.arange(1 + drafts)

    def seen(scoring: Scoring, visible: Bool[Array, "L keys"], distance: Int[Array, "L keys"]) -> Bool[Array, "..."]:
        """Return which keys each query of a window sees, given their distance from its first."""
        distances = distance[:, None] + window[None, :, None]
        return scoring.within(jnp.broadcast_to(visible[:, None], distances.shape), distances)[:, :, None, None]

    def attend(
        q: Float[Array, "L T heads head_dim"],
        k: Float[Array, "L T kv_heads head_dim"],
        v: Float[Array, "L T kv_heads head_dim"],
        scoring: Scoring,
        context: tuple[KV, KV],
    ) -> Float[Array, "L T heads head_dim"]:
        (prompt_k, prompt_v), (past_k, past_v) = context
        exact = precision(q.dtype)
        # Lane l, its token t, completion n of all, key-value head k, its query head r, feature h of a head, position p,
        # column c. A completion's queries of one key-value head lie behind each other on one axis, also called r.
        grouped = split_groups(q, k.shape[2])
        *by_lane, kv_heads, share, _ = grouped.shape

        def product(spec: str, queries: Array, keys: Array) -> Array:
            return jnp.einsum(spec, queries, keys, precision=exact, preferred_element_type=jnp.float32)

        def weighted(spec: str, weights: Array, values: Array) -> Array:
            return product(spec, weights.astype(v.dtype), values)

        def by_completion(x: Array) -> Array:
            """Reshape [L, T, kv_heads, share, any] to [L*E, kv_heads, window*share, any]."""
            split = x.reshape(len(past_k), len(window), kv_heads, share, -1)
            return jnp.swapaxes(split, 1, 2).reshape(len(past_k), kv_heads, len(window) * share, -1)

        def by_token(x: Array) -> Array:
            """Reverse `by_completion`."""
            split = x.reshape(len(past_k), kv_heads, len(window), share, -1)
            return jnp.swapaxes(split, 1, 2).reshape(*by_lane, kv_heads, share, -1)

        def of_window(x: Array) -> Array:
            """Reshape [L, T, kv_heads, head_dim] to [L, E, kv_heads, 1, window, head_dim]."""
            split = x.reshape(by_lane[0], -1, len(window), *x.shape[2:])
            return jnp.swapaxes(split, 2, 3)[:, :, :, None]

        # Products of few vectors. As `dot`s they would neither be fast nor be fused with other operations.
        own_k, own_v = of_window(k), of_window(v)
        own = (grouped[..., None, :].astype(jnp.float32) * own_k.astype(jnp.float32)).sum(axis=-1)

        in_prompt = jnp.arange(prompt_k.shape[-2])[None]
        sees_prompt = seen(scoring, prompt_mask, (lengths + age)[:, None] - in_prompt)
        sees_past = seen(scoring, (back >= 1) & (back <= age[:, None]), back)
        before = window[:, None] - window[None]
        sees_own = scoring.within(before >= 0, before)[None, :, None, None]
        past = by_token(product("nkrh,nkhc->nkrc", by_completion(grouped), past_k))
        of_prompt = jnp.where(sees_prompt, scoring.scores(product("ltkrh,lkph->ltkrp", grouped, prompt_k)), MASKED)
        of_past = jnp.where(sees_past, scoring.scores(past), MASKED)
        of_own = jnp.where(sees_own, scoring.scores(own), MASKED)
        # The softmax over all three, whose denominator comes last: the parts are never joined, nor divided one by one.
        parts = (of_prompt, of_past, of_own)
        top = reduce(jnp.maximum, [part.max(axis=-1, keepdims=True) for part in parts])
        to_prompt, to_past, to_own = (jnp.exp(part - top) for part in parts)
        total = to_prompt.sum(axis=-1, keepdims=True) + to_past.sum(axis=-1, keepdims=True)
        total += to_own.sum(axis=-1, keepdims=True)
        by_past = by_token(weighted("nkrc,nkch->nkrh", by_completion(to_past), past_v))
        # The order of axes decides whether einsum multiplies values by weights, or weights by values. On a CPU jaxlib
        # 0.12 can do only the second in bfloat16. In float32 it would round differently from earlier runs.
        if v.dtype == jnp.float32:
            by_prompt = weighted("ltkrp,lkph->ltkrh", to_prompt, prompt_v)
        else:
            by_prompt = jnp.swapaxes(weighted("ltkrp,lkph->lktrh", to_prompt, prompt_v), 1, 2)
        by_own = (to_own[..., None] * own_v).sum(axis=-2)
        return ((by_prompt + by_past + by_own) / total).astype(v.dtype).reshape(q.shape)

    return attend
