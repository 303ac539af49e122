"""Credit: which tokens of a group carry gradient.

Completions of a prompt often begin with the same tokens. As the policy is autoregressive, such a token has the same
context in all of them, so it has the same log-probability, the same ratio rho_t and the same score g_t = grad log
pi(o_t | q, o_<t). Its part of the gradient of PPO's objective is

    g_t rho_t sum_i w_i c_i A_i,

where w_i is the weight of a token of completion i, and c_i is 0 if the clip cuts the token there, else 1. A correction
for the sampler is another common factor. So the shared prefix cancels exactly, in every single group, if

1. sum_i A_i = 0: the baseline is the group's mean, as in `advantages` (but for OPO's);
2. all w_i are equal: under the aggregations "token", "group_token", "constant" and "sum". Under "sequence" w_i is
   1/|o_i|, and a pair keeps g_t (1/|o+| - 1/|o-|) A+. That raises the prefix if the right completion is the shorter
   one, and lowers it otherwise;
3. all c_i are equal: on-policy, or with 1 - clip_low <= rho_t <= 1 + clip_high. Above this range only right completions
   are cut, and wrong ones pull the token back. Below it, right ones do.

Then `objective.credit` = "after_prefix" changes no gradient. Elsewhere it removes what is left of the shared prefix: a
force that depends on lengths, or on the clip, and not on which token was right. The expected gradient changes with it,
so this is another estimator, not a less noisy one of the same mean. The losses of right against wrong (`preferences`)
see the prefix through S+ - S- alone, where it cancels under the condition 2, even off-policy.
"""

import jax.numpy as jnp
from jaxtyping import Array, Bool

from grpo_jax.objectives.tokens import length_mask
from grpo_jax.types import Groups


def after_shared_prefix(groups: Groups) -> Bool[Array, "*batch 1 C"]:
    """Return a mask of the first position at which a group's completions differ, and of all positions after it.

    Completions whose advantage is 0 do not count. Where one ends, the others differ from it.
    """
    tokens, counts = groups.completion_tokens, (groups.advantages != 0)[..., None]
    within = length_mask(groups.completion_lengths, tokens.shape[-1])
    highest = jnp.where(counts, tokens, -1).max(-2, keepdims=True)
    same = (tokens == highest) & within
    shared = jnp.where(counts, same, True).all(-2, keepdims=True)
    return jnp.cumprod(shared, axis=-1) == 0
