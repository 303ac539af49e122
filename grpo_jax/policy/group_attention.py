"""Attention in rows that hold a prompt once, and after it several of its completions side by side.

A row is [prompt | completion | completion ...]. The prompt is padded on its right, and so is each completion.
Completions do not see each other, so a row gives what each completion would get in a row of its own. If all prompts
begin with the same tokens, this prefix may be computed once for all rows. Then the rows begin after it.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, Shaped

from grpo_jax.policy.attention import (
    KV,
    MASKED,
    Attend,
    Keys,
    Queries,
    Scoring,
    Values,
    causal,
    precision,
    split_groups,
    with_prefix,
)


@dataclass(frozen=True)
class GroupRows:
    """The layout of such rows."""

    prompt_lengths: Int[Array, " B"]  # the prefix included
    prompt_tokens: int  # P, without the prefix
    completions: int  # E, of each row
    completion_tokens: int  # of each completion
    prefix_tokens: int = 0  # that precede every row

    def positions(self) -> Int[Array, "B T"]:
        """Return every token's position in its text: those of a completion continue the prompt's, without a gap."""
        b = len(self.prompt_lengths)
        in_prompt = jnp.broadcast_to(self.prefix_tokens + jnp.arange(self.prompt_tokens), (b, self.prompt_tokens))
        in_completion = self.prompt_lengths[:, None] + jnp.arange(self.completion_tokens)[None]
        return jnp.concatenate([in_prompt, jnp.tile(in_completion, (1, self.completions))], axis=1)

    def split(self, x: Shaped[Array, "B T *rest"]) -> tuple[Shaped[Array, "B P *rest"], Shaped[Array, "B E own *rest"]]:
        """Return the part of the prompt and the part of each completion."""
        own = x[:, self.prompt_tokens :]
        return x[:, : self.prompt_tokens], own.reshape(len(x), self.completions, self.completion_tokens, *x.shape[2:])


def group_attention(rows: GroupRows) -> Attend:
    """Return a function by which a token attends to itself and to earlier tokens of its text.

    The text of a completion's token is the prompt followed by that completion. The function's context is the prefix, as
    `with_prefix` takes it.
    """

    def attend(q: Queries, k: Keys, v: Values, scoring: Scoring, context: KV | None = None) -> Queries:
        exact = precision(q.dtype)
        _, own_q = rows.split(split_groups(q, k.shape[2]))
        (prompt_k, own_k), (prompt_v, own_v) = rows.split(k), rows.split(v)
        prompt_q, _ = rows.split(q)
        by_prompt = causal(prompt_q, prompt_k, prompt_v, scoring, context)
        prompt_k, prompt_v = with_prefix(context, (prompt_k, prompt_v))

        # Row b, its completion e, its token c, key-value head k, its query head r, feature h of a head; the key is
        # token p of the prompt, or token d of the same completion.
        def scores(spec: str, keys: Array) -> Array:
            return scoring.scores(jnp.einsum(spec, own_q, keys, precision=exact, preferred_element_type=jnp.float32))

        at = jnp.arange(rows.completion_tokens)
        in_prompt, lengths = jnp.arange(prompt_k.shape[1])[None, None], rows.prompt_lengths[:, None, None]
        back = lengths + at[None, :, None] - in_prompt  # from a token of a completion to one of its prompt
        sees_prompt = scoring.within(jnp.broadcast_to(in_prompt < lengths, back.shape), back)[:, None, None, None]
        distance = at[:, None] - at[None]
        sees_own = scoring.within(distance >= 0, distance)[None, None, None, None]
        of_prompt = jnp.where(sees_prompt, scores("beckrh,bpkh->bekrcp", prompt_k), MASKED)
        of_own = jnp.where(sees_own, scores("beckrh,bedkh->bekrcd", own_k), MASKED)
        weights = jax.nn.softmax(jnp.concatenate([of_prompt, of_own], axis=-1), axis=-1).astype(v.dtype)
        to_prompt, to_own = jnp.split(weights, [prompt_k.shape[1]], axis=-1)
        seen = jnp.einsum("bekrcp,bpkh->beckrh", to_prompt, prompt_v, precision=exact)
        seen += jnp.einsum("bekrcd,bedkh->beckrh", to_own, own_v, precision=exact)
        return jnp.concatenate([by_prompt, seen.reshape(q[:, rows.prompt_tokens :].shape)], axis=1)

    return attend


def contiguous(attend_causally: Attend, rows: GroupRows) -> Attend:
    """Return `group_attention` made of causal attention, for kernels that support nothing else.

    Inside, each completion has a row of its own, with its prompt before it and without padding in between.
    """
    p, e, c = rows.prompt_tokens, rows.completions, rows.completion_tokens
    index, lengths = jnp.arange(p + c)[None], rows.prompt_lengths[:, None]
    # An index into [prompt | completion]: after the prompt it skips the prompt's padding, and then repeats the end.
    source = jnp.minimum(jnp.where(index < lengths, index, index - lengths + p), p + c - 1)
    own = lengths + jnp.arange(c)[None]  # where a completion's tokens are in its row

    def attend(q: Queries, k: Keys, v: Values, scoring: Scoring, context: None = None) -> Queries:
        def in_own_rows(x: Array) -> Array:
            of_prompt, of_own = rows.split(x)
            shared = jnp.broadcast_to(of_prompt[:, None], (len(x), e, *of_prompt.shape[1:]))
            both = jnp.concatenate([shared, of_own], axis=2)
            return jnp.take_along_axis(both, source[:, None, :, None, None], axis=2).reshape(-1, *both.shape[2:])

        seen = attend_causally(in_own_rows(q), in_own_rows(k), in_own_rows(v), scoring, None)
        seen = seen.reshape(len(q), e, p + c, *q.shape[2:])
        by_own = jnp.take_along_axis(seen, own[:, None, :, None, None], axis=2)
        return jnp.concatenate([seen[:, 0, :p], by_own.reshape(q[:, p:].shape)], axis=1)

    return attend
