"""Attention over keys and values, as pure functions. Scores, their soft-cap and the softmax are in float32.

The decoder is given an `Attend`: a layer computes queries, keys and values of its tokens, and `attend` decides what the
queries attend to. Training and prefill pass `causal`. The sampler passes a function that also reads its caches
(grpo_jax/sampling/cache.py).
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

Queries: TypeAlias = Float[Array, "B T heads head_dim"]
Keys: TypeAlias = Float[Array, "B T kv_heads head_dim"]
Values: TypeAlias = Float[Array, "B T kv_heads head_dim"]
KV: TypeAlias = tuple[Array, Array]  # keys, rotated, and values of one layer


class Scoring(NamedTuple):
    """How a layer turns products of queries and keys into scores, and how far back it looks."""

    scale: float  # of the products of queries and keys
    cap: float  # scores become cap * tanh(scores / cap); 0 is off
    window: Int[Array, ""] | int | None  # how many tokens a query sees, its own included; None: all

    def scores(self, products: Float[Array, "*any"]) -> Float[Array, "*any"]:
        """Return the softmax's inputs, given products of queries and keys."""
        scaled = products * self.scale
        return self.cap * jnp.tanh(scaled / self.cap) if self.cap else scaled

    def within(self, visible: Bool[Array, "*any"], distance: Int[Array, "*any"]) -> Bool[Array, "*any"]:
        """Return which keys are visible and lie within the window.

        Args:
          visible: whether the query may see the key at all.
          distance: the query's position minus the key's.
        """
        return visible if self.window is None else visible & (distance < self.window)


# Takes queries, keys, values, the layer's scoring and its context; returns an array of the queries' shape.
Attend: TypeAlias = Callable[[Array, Array, Array, Scoring, Any], Array]

MASKED = float(np.finfo(np.float32).min)  # finite: a row that sees nothing averages instead of becoming NaN


def precision(dtype: jnp.dtype) -> jax.lax.Precision:
    """Return the precision of products: full for float32, which TPU and GPU multiply in bfloat16 or TF32 by default."""
    return jax.lax.Precision.HIGHEST if dtype == jnp.float32 else jax.lax.Precision.DEFAULT


def split_groups(q: Queries, kv_heads: int) -> Float[Array, "B T kv_heads share head_dim"]:
    """Return queries by the key-value head that serves them: each serves consecutive heads, as in Hugging Face."""
    b, t, heads, head_dim = q.shape
    return q.reshape(b, t, kv_heads, heads // kv_heads, head_dim)


def with_prefix(context: Any, own: Any) -> Any:
    """Return keys and values of whole rows, of one layer or of all: first the prefix that all rows have, if any.

    Args:
      context: those of the prefix, [*layers, copies, prefix, kv_heads, head_dim], or None. Each copy belongs to equally
        many consecutive rows.
      own: those of the rows after the prefix; a tree like `context`.
    """

    def whole(of_prefix: Array, of_rows: Array) -> Array:
        each = of_rows.shape[-4] // of_prefix.shape[-4]
        return jnp.concatenate([jnp.repeat(of_prefix, each, axis=-4), of_rows], axis=-3)

    return own if context is None else jax.tree.map(whole, context, own)


def causal(q: Queries, k: Keys, v: Values, scoring: Scoring, context: KV | None = None) -> Queries:
    """Let every token attend to itself and to earlier tokens. Padding is on the right, so no valid token sees any.

    Args:
      context: keys and values of a prefix of all rows; see `with_prefix`.
    """
    exact = precision(q.dtype)
    k, v = with_prefix(context, (k, v))
    grouped = split_groups(q, k.shape[2])
    # Row b, query t, key s, key-value head k, its query head r, feature h of a head.
    products = jnp.einsum("btkrh,bskh->bkrts", grouped, k, precision=exact, preferred_element_type=jnp.float32)
    at = jnp.arange(k.shape[1])
    distance = at[-q.shape[1] :, None] - at[None]
    visible = scoring.within(distance >= 0, distance)[None, None, None]
    weights = jax.nn.softmax(jnp.where(visible, scoring.scores(products), MASKED), axis=-1).astype(v.dtype)
    return jnp.einsum("bkrts,bskh->btkrh", weights, v, precision=exact).reshape(q.shape)
