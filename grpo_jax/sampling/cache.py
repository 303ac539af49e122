"""Keys and values of earlier tokens while decoding: a group shares those of its prompt, each completion has its own."""

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

    Layers only read the cache, and return keys and values of the token that they were given: `newest`. These are
    written at the start of the next step, for all layers at once, before anything reads the cache, so the compiler can
    write in place. If they were written at the end of their own step, beside reads of the same buffer, each step would
    copy the whole buffer.
    """

    prompts: Any  # of KV [N, kv_heads, P, head_dim]
    completions: Any  # of KV [N, G, kv_heads, C, head_dim]
    newest: Any  # of KV [N, G, kv_heads, head_dim]

    def contexts(self) -> Any:
        """Return what each layer reads, in the form that the decoder takes."""
        if isinstance(self.prompts, list):
            return list(zip(self.prompts, self.completions, strict=True))
        return (self.prompts, self.completions)

    def write_newest(self, index: Int[Array, ""]) -> "Cache":
        """Return the cache with `newest` written to this position of the completions.

        Before the first token `newest` is empty. What is then written to position 0 is overwritten before it is read.
        """

        def write(cache: Array, token: Array) -> Array:
            axis = cache.ndim - 2
            return jax.lax.dynamic_update_slice_in_dim(cache, jnp.expand_dims(token, axis), index, axis)

        return Cache(self.prompts, jax.tree.map(write, self.completions, self.newest), self.newest)


def empty_cache(prompts: Any, group_size: int, width: int) -> Cache:
    """Return a cache for groups of prompts that have been prefilled.

    Args:
      prompts: keys and values as the decoder returned them, each [N, P, kv_heads, head_dim].
      group_size: G.
      width: C.
    """

    def zeros(keys: Array, *room: int) -> Array:
        *layers, n, _, kv_heads, head_dim = keys.shape
        return jnp.zeros((*layers, n, group_size, kv_heads, *room, head_dim), keys.dtype)

    return Cache(
        prompts=jax.tree.map(lambda keys: jnp.swapaxes(keys, -3, -2), prompts),
        completions=jax.tree.map(lambda keys: zeros(keys, width), prompts),
        newest=jax.tree.map(zeros, prompts),
    )


def group_attention(prompt_mask: Bool[Array, "N P"], index: Int[Array, ""]) -> Attend:
    """Return a function by which each completion's newest token attends to its prompt, its past, and itself.

    The decoder's rows are prompts and its T axis is the group, so a prompt's keys are read once for all G queries.

    Args:
      prompt_mask: the valid positions of the prompt, which come first.
      index: the newest token's position in its completion; the cache holds all tokens before it.
    """
    lengths = prompt_mask.sum(axis=-1)  # a completion's token 0 has this position

    def attend(
        q: Float[Array, "N G heads head_dim"],
        k: Float[Array, "N G kv_heads head_dim"],
        v: Float[Array, "N G kv_heads head_dim"],
        scoring: Scoring,
        context: tuple[KV, KV],
    ) -> Float[Array, "N G heads head_dim"]:
        (prompt_k, prompt_v), (past_k, past_v) = context
        exact = precision(q.dtype)
        # Prompt n, completion g, key-value head k, its query head r, feature h of a head, position p or c.
        grouped = split_groups(q, k.shape[2])

        def scores(spec: str, keys: Array) -> Array:
            return scoring.scores(jnp.einsum(spec, grouped, keys, precision=exact, preferred_element_type=jnp.float32))

        in_prompt, in_past = jnp.arange(prompt_k.shape[-2])[None], jnp.arange(past_k.shape[-2])
        sees_prompt = scoring.within(prompt_mask, (lengths + index)[:, None] - in_prompt)[:, None, None, None]
        sees_past = scoring.within(in_past < index, index - in_past)[None, None, None, None]
        of_prompt = jnp.where(sees_prompt, scores("ngkrh,nkph->ngkrp", prompt_k), MASKED)
        of_past = jnp.where(sees_past, scores("ngkrh,ngkch->ngkrc", past_k), MASKED)
        of_self = scores("ngkrh,ngkh->ngkr", k)[..., None]
        weights = jax.nn.softmax(jnp.concatenate([of_prompt, of_past, of_self], axis=-1), axis=-1).astype(v.dtype)
        to_prompt, to_past, to_self = jnp.split(weights, [prompt_mask.shape[1], weights.shape[-1] - 1], axis=-1)
        seen = (
            jnp.einsum("ngkrp,nkph->ngkrh", to_prompt, prompt_v, precision=exact)
            + jnp.einsum("ngkrc,ngkch->ngkrh", to_past, past_v, precision=exact)
            + to_self * v[:, :, :, None, :]
        )
        return seen.reshape(q.shape)

    return attend
