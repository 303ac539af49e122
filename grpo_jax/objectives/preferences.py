"""Losses of preference learning, online: the right completions of a prompt against the wrong ones.

A completion's score is S = sum_t weight_t log pi(o_t): under the aggregation "sum" its log-probability, under
"sequence" the mean of its tokens'. A correction for the sampler weighs the tokens of its gradient and not its value:
the losses are nonlinear in S, and where on their curves a pair stands does not depend on the sampler.

Only the sign of an advantage is read, as in `contrastive.n_vs_m`. Each function returns a sum over completions (the
number of a group's times its loss), so that the division by the number of completions gives the mean over groups;
groups of one kind contribute nothing.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from grpo_jax.config import NonNegative, Positive
from grpo_jax.objectives.terms import Terms, mean_over_tokens


def _scores(terms: Terms) -> Float[Array, "*batch G"]:
    """S, against the reference's where there is one."""
    relative = terms.logprobs
    if terms.reference_logprobs is not None:
        relative = relative - terms.reference_logprobs
    value = jnp.where(terms.mask, terms.plain_weights * relative, 0.0).sum(-1)
    sloped = jnp.where(terms.mask, terms.weights * relative, 0.0).sum(-1)
    return jax.lax.stop_gradient(value - sloped) + sloped


def _mean_over_pairs(losses: Float[Array, "*batch G G"], terms: Terms) -> Float[Array, ""]:
    """The mean of each group's losses of (right, wrong) pairs, times its number of completions, summed."""
    positive, negative = terms.advantages > 0, terms.advantages < 0
    pairs = positive[..., :, None] & negative[..., None, :]
    mean = jnp.where(pairs, losses, 0.0).sum((-2, -1)) / jnp.maximum(pairs.sum((-2, -1)), 1)
    return ((positive | negative).sum(-1) * mean).sum()


def _margins(terms: Terms) -> Float[Array, "*batch G G"]:
    """S_j - S_k of every two completions of a group."""
    scores = _scores(terms)
    return scores[..., :, None] - scores[..., None, :]


def logistic(terms: Terms, *, beta: Positive = 0.1, margin: float = 0.0) -> Float[Array, ""]:
    """DPO: -log sigmoid(beta (S+ - S-) - margin), arXiv 2305.18290; SimPO (arXiv 2405.14734) without a reference.

    Args:
      beta: of the implicit reward.
      margin: SimPO's gamma, which the better one has to be ahead by.
    """
    return _mean_over_pairs(-jax.nn.log_sigmoid(beta * _margins(terms) - margin), terms)


def squared(terms: Terms, *, tau: Positive = 0.1) -> Float[Array, ""]:
    """IPO: (S+ - S- - 1/(2 tau))^2, arXiv 2310.12036.

    Args:
      tau: of the regularisation; the margin that is aimed at is 1/(2 tau).
    """
    return _mean_over_pairs((_margins(terms) - 1 / (2 * tau)) ** 2, terms)


def discriminative(
    terms: Terms, *, temperature: Positive = 10.0, kl_limit: NonNegative = 1e-4, kl_penalty: NonNegative = 1e3
) -> Float[Array, ""]:
    """DisCO: -[mean S+ - temperature log mean exp(S- / temperature)] + kl_penalty [KL - kl_limit]_+^2.

    arXiv 2505.12366, with the log-likelihood as score. The worst of the wrong ones weigh most; at a large temperature
    all weigh the same. KL(old || policy) is estimated per group and not for the whole batch, so that the loss stays a
    sum; on-policy it is 0 and adds nothing.
    """
    positive, negative = terms.advantages > 0, terms.advantages < 0
    n, m = positive.sum(-1), negative.sum(-1)
    scores = _scores(terms)
    right = jnp.where(positive, scores, 0.0).sum(-1) / jnp.maximum(n, 1)
    of_wrong = jnp.where(negative, scores / temperature, -jnp.inf)
    shift = jax.lax.stop_gradient(jnp.where(m > 0, of_wrong.max(-1), 0.0))[..., None]
    exponentials = jnp.where(negative, jnp.exp(jnp.where(negative, of_wrong, shift) - shift), 0.0).sum(-1)
    wrong = temperature * (jnp.log(jnp.where(m > 0, exponentials / jnp.maximum(m, 1), 1.0)) + shift[..., 0])

    drift = -mean_over_tokens(terms.log_ratio, terms.mask)[..., 0]
    divergence = jnp.where(positive | negative, drift, 0.0).sum(-1) / jnp.maximum(n + m, 1)
    penalty = kl_penalty * jnp.maximum(divergence - kl_limit, 0.0) ** 2
    return jnp.where((n > 0) & (m > 0), (n + m) * (wrong - right + penalty), 0.0).sum()
