"""The sampler: groups of completions of each prompt, by one jitted program. It knows tokens only.

A prompt is prefilled once, and its keys and values serve its whole group. The decode loop ends when every completion
has stopped.
"""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from grpo_jax.config import SamplingConfig
from grpo_jax.objectives import completion_mask
from grpo_jax.policy import Policy
from grpo_jax.randomness import Counter, prompt_keys
from grpo_jax.sampling.cache import Cache, empty_cache, group_attention
from grpo_jax.sampling.filters import distribution
from grpo_jax.sampling.noise import Noise, independent
from grpo_jax.types import Params, PromptBatch, Rollouts, StopReason

Sampler: TypeAlias = Callable[[Params, PromptBatch, Counter], Rollouts]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class DecodeState:
    """The state of the decode loop."""

    index: Int[Array, ""]  # of the newest token of every completion
    tokens: Int[Array, "N G C"]
    logprobs: Float[Array, "N G C"]
    lengths: Int[Array, "N G"]  # so far, the stop token included
    stopped: Bool[Array, "N G"]
    cache: Cache  # of the tokens that the decoder has read: all but the newest one


def make_sampler(
    policy: Policy,
    sampling: SamplingConfig,
    *,
    group_size: int,
    max_new_tokens: int,
    stop_tokens: Sequence[int],
    pad_token: int = 0,
    noise: Noise = independent,
) -> Sampler:
    """Make a function (params, prompts, counter) -> Rollouts, to be jitted.

    Args:
      sampling: temperature (0 is greedy) and filters. The log-probabilities returned are those of the distribution
        that was sampled from, filters included.
      group_size: G, completions of each prompt.
      max_new_tokens: C, the stop token included.
      stop_tokens: each of them ends a completion, and belongs to it.
      pad_token: fills the room after the end of a completion; it may be a stop token.
      noise: how the completions of a group share their noise; to sample one of them again, sample its group.
    """
    stops = np.asarray(sorted(set(stop_tokens)), np.int32)

    def gumbel(keys: Key[Array, " N"], index: Int[Array, ""], vocab: int) -> Float[Array, "N G V"]:
        def of_group(key: Key[Array, ""]) -> Float[Array, "G V"]:
            return jax.vmap(lambda sample: noise(key, sample, index, vocab, max_new_tokens))(jnp.arange(group_size))

        return jax.vmap(of_group)(keys)

    def choose(
        logits: Float[Array, "N G V"], keys: Key[Array, " N"], index: Int[Array, ""]
    ) -> tuple[Int[Array, "N G"], Float[Array, "N G"]]:
        allowed = distribution(logits, sampling)
        noisy = allowed + gumbel(keys, index, logits.shape[-1]) if sampling.temperature else allowed
        token = jnp.argmax(noisy, axis=-1).astype(jnp.int32)
        return token, jnp.take_along_axis(allowed, token[..., None], axis=-1)[..., 0]

    def record(
        state: DecodeState, index: Int[Array, ""], logits: Float[Array, "N G V"], keys: Key[Array, " N"], cache: Cache
    ) -> DecodeState:
        """Sample the token at `index` of each completion that has not stopped."""
        token, logprob = choose(logits, keys, index)
        token = jnp.where(state.stopped, pad_token, token)
        logprob = jnp.where(state.stopped, 0.0, logprob)
        return DecodeState(
            index=index,
            tokens=jax.lax.dynamic_update_slice_in_dim(state.tokens, token[..., None], index, axis=2),
            logprobs=jax.lax.dynamic_update_slice_in_dim(state.logprobs, logprob[..., None], index, axis=2),
            lengths=state.lengths + ~state.stopped,
            stopped=state.stopped | jnp.isin(token, stops),
            cache=cache,
        )

    def sample(params: Params, prompts: PromptBatch, counter: Counter) -> Rollouts:
        n, padded = prompts.tokens.shape
        shape = (n, group_size, max_new_tokens)
        prompt_mask = completion_mask(prompts.lengths, padded)
        keys = prompt_keys(counter.key(), prompts.ids)

        hidden, prompt_kv = policy.hidden_states(params, prompts.tokens)
        last = jnp.take_along_axis(hidden, (prompts.lengths - 1)[:, None, None], axis=1)
        logits = jnp.broadcast_to(policy.logits(params, last), (n, group_size, policy.vocab_size))

        empty = DecodeState(
            index=jnp.int32(-1),
            tokens=jnp.full(shape, pad_token, jnp.int32),
            logprobs=jnp.zeros(shape, jnp.float32),
            lengths=jnp.zeros(shape[:2], jnp.int32),
            stopped=jnp.zeros(shape[:2], bool),
            cache=empty_cache(prompt_kv, group_size, max_new_tokens),
        )
        first = record(empty, jnp.int32(0), logits, keys, empty.cache)

        def more(state: DecodeState) -> Bool[Array, ""]:
            return (state.index + 1 < max_new_tokens) & ~state.stopped.all()

        def decode(state: DecodeState) -> DecodeState:
            newest = jax.lax.dynamic_index_in_dim(state.tokens, state.index, axis=2, keepdims=False)
            positions = jnp.broadcast_to(prompts.lengths[:, None] + state.index, newest.shape)
            cache = state.cache.write_newest(jnp.maximum(state.index - 1, 0))
            attend = group_attention(prompt_mask, state.index)
            hidden, kv = policy.hidden_states(params, newest, positions, attend, cache.contexts())
            return record(
                state, state.index + 1, policy.logits(params, hidden), keys, dataclasses.replace(cache, newest=kv)
            )

        final = jax.lax.while_loop(more, decode, first)
        return Rollouts(
            prompt_tokens=prompts.tokens,
            prompt_lengths=prompts.lengths,
            completion_tokens=final.tokens,
            completion_lengths=final.lengths,
            logprobs=final.logprobs,
            stop_reasons=jnp.where(final.stopped, StopReason.STOP, StopReason.LENGTH),
        )

    return sample
