"""The contrastive form of GRPO: right completions of a prompt against wrong ones ("It Takes Two", arXiv 2510.00977).

    J = E_q sqrt(p(1-p)) [ 1/G+ sum_j 1/|o_j| sum_t C+(rho_jt)  -  1/G- sum_k 1/|o_k| sum_t C-(rho_kt) ]

with p = G+/G the share of positives, C+(x) = min(x, 1 + clip_high) and C-(x) = max(x, 1 - clip_low) (Propositions 3.1
and 3.2). For binary rewards J is GRPO's objective with a population standard deviation and no epsilon; with one
positive and one negative it is the paper's 2-GRPO,

    J = E_q 1(r_1 != r_2) 1/2 [ 1/|o+| sum_t C+(rho_t) - 1/|o-| sum_t C-(rho_t) ],

whose pairs are those of DPO. The functions here return -J as a sum over completions (G times each group's bracket), and
dividing by the number of completions gives the mean over groups. They accept any weights of tokens; 1/|o| gives the
paper's formulas.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from grpo_jax.objectives.ratios import cap, floor
from grpo_jax.objectives.terms import Terms


def n_vs_m(terms: Terms, *, clip_low: float, clip_high: float) -> Float[Array, ""]:
    """Return minus the sum of the groups' N-vs-M contrasts, each times the group's number of completions.

    Only the signs of advantages matter: a completion above 0 is a positive, and one below 0 a negative. A completion
    at 0 (without a verdict, or in a group of one kind) does not count.
    """
    positive, negative = terms.advantages > 0, terms.advantages < 0
    n, m = positive.sum(-1).astype(jnp.float32), negative.sum(-1).astype(jnp.float32)
    share = n / jnp.maximum(n + m, 1.0)

    capped = (terms.weights * cap(terms.ratio, clip_high)).sum(-1)
    floored = (terms.weights * floor(terms.ratio, clip_low)).sum(-1)
    positives = jnp.where(positive, capped, 0.0).sum(-1) / jnp.maximum(n, 1.0)
    negatives = jnp.where(negative, floored, 0.0).sum(-1) / jnp.maximum(m, 1.0)
    return -((n + m) * jnp.sqrt(share * (1 - share)) * (positives - negatives)).sum()


def two_grpo(terms: Terms, *, clip_low: float, clip_high: float) -> Float[Array, ""]:
    """Return minus the sum of the valid pairs' contrasts, each times 2 x 1/2. Groups must have two completions.

    Only the order of the two advantages matters. A tie is not a valid pair and contributes nothing.
    """
    first, second = terms.advantages[..., 0], terms.advantages[..., 1]
    swapped = (second > first)[..., None, None]
    # The better one first.
    ratio, weights = (jnp.where(swapped, x[..., ::-1, :], x) for x in (terms.ratio, terms.weights))
    positive = (weights[..., 0, :] * cap(ratio[..., 0, :], clip_high)).sum(-1)
    negative = (weights[..., 1, :] * floor(ratio[..., 1, :], clip_low)).sum(-1)
    return -jnp.where(first != second, positive - negative, 0.0).sum()
