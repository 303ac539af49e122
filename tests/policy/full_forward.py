"""Log-probabilities of completions by the shortest way: one row for each text, without gaps, and all its logits."""

import jax.numpy as jnp
import numpy as np

from grpo_jax.objectives import token_logprobs


def full_forward(policy, params, prompt_tokens, prompt_lengths, completion_tokens, temperature=1.0):
    """Log-probabilities [N, G, C]; only `params` may be traced."""
    n, g, c = completion_tokens.shape
    rows = np.zeros((n, g, prompt_tokens.shape[1] + c), np.int32)
    for index in np.ndindex(n, g):
        row = np.concatenate([prompt_tokens[index[0]][: prompt_lengths[index[0]]], completion_tokens[index]])
        rows[index][: len(row)] = row
    before = np.asarray(prompt_lengths)[:, None, None] - 1 + np.arange(c)
    logits = policy.apply(params, jnp.asarray(rows.reshape(n * g, -1))).reshape(*rows.shape, -1)
    predicting = jnp.take_along_axis(logits, jnp.asarray(before)[..., None], axis=2)
    return token_logprobs(predicting, jnp.asarray(completion_tokens), temperature)
