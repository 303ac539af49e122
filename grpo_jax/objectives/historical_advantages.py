"""Advantages whose baseline joins the rest of the group with the prompt's earlier completions.

In a pair, let r be the reward of a completion, r' that of its partner, p the expected reward of the prompt, and m an
estimate of p from earlier visits that counts as k completions. The advantage is

    A = r - b,      b = (1 - c) r' + c m.

b does not depend on the completion itself, given the prompt, the partner and the history, so E[b grad log pi] = 0: the
expected gradient is that of RLOO and 2-GRPO for every c and every m, however wrong. A history that included the present
visit would contain r and shrink the gradient. This needs the whole gradient of log pi, a sum over tokens. If tokens
weigh 1/|o|, as under the aggregation "sequence", their weighted sum need not be 0 in expectation where lengths differ,
and then an m that is wrong on average adds a bias.

c is chosen for the least variance. If |grad log pi|^2 says nothing about r, the baseline's part of the variance is
proportional to its squared error,

    E (b - p)^2 = (1 - c)^2 p (1 - p) + c^2 (m - p)^2.

Under the posterior Beta(k m, k (1 - m)) of p, p (1 - p) has the mean m (1 - m) k / (k + 1), and (m - p)^2 has the mean
m (1 - m) / (k + 1). The derivative with respect to c is 0 at

    c = k / (k + 1),      so      b = (k m + r') / (k + 1):

the posterior mean of p given all completions but one's own. In a group of G, r' becomes the mean of the G - 1 others,
c = k / (k + G - 1), and b is that posterior mean again. (The gradients of two partners are correlated, because each
advantage contains the other's reward. A larger c would lower that, too; it is left out here.)
"""

from typing import Annotated

import jax.numpy as jnp
from jaxtyping import Array, Float

from grpo_jax.config import Range
from grpo_jax.objectives.outcomes import Outcomes


def historical(
    outcomes: Outcomes, *, trust: Annotated[float, Range(0, 1)] = 1.0, tolerance: float = 1e-6
) -> Float[Array, "N G"]:
    """Return A_i = r_i - (k m + sum of the others' rewards) / (k + number of the others), with k = trust x evidence.

    Groups that are all right or all wrong carry signal, too, unless the history has expected just that.

    Args:
      trust: the share of the history's completions that counts. The policy changes, so old results say less than new
        ones. 0 is RLOO; what `rollout.success_half_life` forgets does not count anyway.
      tolerance: advantages no larger than this are set to 0.
    """
    assert outcomes.expected is not None
    assert outcomes.evidence is not None
    rewards, scored = jnp.where(outcomes.scored, outcomes.rewards, 0.0), outcomes.scored.astype(jnp.float32)
    history = trust * outcomes.evidence[:, None]
    total = history * outcomes.expected[:, None] + rewards.sum(-1, keepdims=True) - rewards
    count = history + scored.sum(-1, keepdims=True) - scored
    advantages = rewards - total / jnp.where(count > 0, count, 1.0)
    known = outcomes.scored & (count > 0)  # without a history, a completion needs another one
    return jnp.where(known & (jnp.abs(advantages) > tolerance), advantages, 0.0)
