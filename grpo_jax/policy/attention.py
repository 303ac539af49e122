"""Attention over keys and values, as pure functions. Scores, their soft-cap and the softmax are in float32.

`Attend` is the seam between the decoder and whoever runs it: a layer computes queries, keys and values of the tokens
it is given, and asks `attend` what they see. Training and prefill pass `causal`; the sampler passes a function that
also looks into its caches (grpo_jax/sampling/cache.py).
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int


class Scoring(NamedTuple):
    """How a layer weighs what its queries could see."""

    scale: float  # of the products of queries and keys
    cap: float  # scores become cap * tanh(scores / cap); 0 is off
    window: Int[Array, ""] | int | None  # tokens that are seen, the querying one included; None: all

    def scores(self, products: Float[Array, "*any"]) -> Float[Array, "*any"]:
        """From products of queries and keys to what the softmax takes."""
        scaled = products * self.scale
        return self.cap * jnp.tanh(scaled / self.cap) if self.cap else scaled

    def within(self, visible: Bool[Array, "*any"], distance: Int[Array, "*any"]) -> Bool[Array, "*any"]:
        """Of the keys that are visible, those near enough.

        Args:
          visible: whether the query may see the key at all.
          distance: the query's position less the key's.
        """
        return visible if self.window is None else visible & (distance < self.window)


# Of queries [B, T, heads, head_dim], keys and values [B, T, kv_heads, head_dim], the layer's scoring and its context;
# returns [B, T, heads, head_dim].
Attend: TypeAlias = Callable[[Array, Array, Array, Scoring, Any], Array]

MASKED = float(np.finfo(np.float32).min)  # finite: a row that sees nothing averages instead of giving NaN


def precision(dtype: jnp.dtype) -> jax.lax.Precision:
    """float32 shall mean float32 on TPU and GPU too, where the default would multiply in bfloat16 or TF32."""
    return jax.lax.Precision.HIGHEST if dtype == jnp.float32 else jax.lax.Precision.DEFAULT


def split_groups(q: Float[Array, "B T heads head_dim"], kv_heads: int) -> Float[Array, "B T kv_heads share head_dim"]:
    """Return queries by the key-value head that serves them: each serves consecutive heads, as in Hugging Face."""
    b, t, heads, head_dim = q.shape
    return q.reshape(b, t, kv_heads, heads // kv_heads, head_dim)


def causal(
    q: Float[Array, "B T heads head_dim"],
    k: Float[Array, "B T kv_heads head_dim"],
    v: Float[Array, "B T kv_heads head_dim"],
    scoring: Scoring,
    context: None = None,
) -> Float[Array, "B T heads head_dim"]:
    """Every token sees itself and what stands before it. Padding is on the right, so no valid token sees any."""
    exact = precision(q.dtype)
    grouped = split_groups(q, k.shape[2])
    # Row b, query t, key s, key-value head k, its query head r, feature h of a head.
    products = jnp.einsum("btkrh,bskh->bkrts", grouped, k, precision=exact, preferred_element_type=jnp.float32)
    at = jnp.arange(q.shape[1])
    distance = at[:, None] - at[None]
    visible = scoring.within(distance >= 0, distance)[None, None, None]
    weights = jax.nn.softmax(jnp.where(visible, scoring.scores(products), MASKED), axis=-1).astype(v.dtype)
    return jnp.einsum("bkrts,bskh->btkrh", weights, v, precision=exact).reshape(q.shape)
