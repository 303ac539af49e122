"""Losses of online preference learning: the right completions of a prompt against the wrong ones.

A completion's score is S = sum_t weight_t log pi(o_t), with the weights of the aggregation alone. Under "sum" that is
its log-probability, under "sequence" the mean of its tokens' log-probabilities. The losses are nonlinear in S, so other
weights stay out of it. A prompt's weight multiplies its group's loss. A correction for the sampler multiplies the
gradients of tokens and leaves the loss unchanged: a pair's place on the curve does not depend on the sampler. So the
logged loss has the prompts' weights and not the correction.

Only the signs of advantages matter, as in `paper_surrogates.n_vs_m`. Each function returns a sum over groups of the
group's loss times its number of completions, so dividing by the number of completions gives the mean over groups.
Groups that are all right or all wrong contribute nothing.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from grpo_jax.config import NonNegative, Positive
from grpo_jax.objectives.terms import Terms, mean_over_tokens


def _scores(terms: Terms) -> Float[Array, "*batch G"]:
    """Return S of every completion, minus the reference's S if there is a reference."""
    relative = terms.logprobs
    if terms.reference_logprobs is not None:
        relative = relative - terms.reference_logprobs
    return jnp.where(terms.mask, terms.plain_weights * _corrected(relative, terms), 0.0).sum(-1)


def _corrected(values: Float[Array, "*batch G C"], terms: Terms) -> Float[Array, "*batch G C"]:
    """Return values of tokens, with the correction for the sampler in their gradients alone."""
    sloped = terms.correction * values
    return jax.lax.stop_gradient(values - sloped) + sloped


def _mean_over_pairs(losses: Float[Array, "*batch G G"], terms: Terms) -> Float[Array, ""]:
    """Return the sum over groups of the mean loss of (right, wrong) pairs times the number of completions."""
    positive, negative = terms.advantages > 0, terms.advantages < 0
    pairs = positive[..., :, None] & negative[..., None, :]
    mean = jnp.where(pairs, losses, 0.0).sum((-2, -1)) / jnp.maximum(pairs.sum((-2, -1)), 1)
    return (terms.prompt_weights * (positive | negative).sum(-1) * mean).sum()


def _margins(terms: Terms) -> Float[Array, "*batch G G"]:
    """Return S_j - S_k of every two completions of a group."""
    scores = _scores(terms)
    return scores[..., :, None] - scores[..., None, :]


def logistic(terms: Terms, *, beta: Positive = 0.1, margin: float = 0.0) -> Float[Array, ""]:
    """Compute the loss of DPO, -log sigmoid(beta (S+ - S-) - margin), arXiv 2305.18290.

    Without a reference it is SimPO, arXiv 2405.14734.

    Args:
      beta: scale of the implicit reward.
      margin: SimPO's gamma, by which the right completion should lead.
    """
    return _mean_over_pairs(-jax.nn.log_sigmoid(beta * _margins(terms) - margin), terms)


def squared(terms: Terms, *, tau: Positive = 0.1) -> Float[Array, ""]:
    """Compute the loss of IPO, (S+ - S- - 1/(2 tau))^2, arXiv 2310.12036.

    Args:
      tau: strength of the regularisation; the loss aims at a margin of 1/(2 tau).
    """
    return _mean_over_pairs((_margins(terms) - 1 / (2 * tau)) ** 2, terms)


def discriminative(
    terms: Terms, *, temperature: Positive = 10.0, kl_limit: NonNegative = 1e-4, kl_penalty: NonNegative = 1e3
) -> Float[Array, ""]:
    """Compute the loss of DisCO, arXiv 2505.12366, with the log-likelihood as score:

        -[mean S+ - temperature log mean exp(S- / temperature)] + kl_penalty [KL - kl_limit]_+^2

    The likeliest wrong completions weigh most; at a large temperature all weigh the same. KL(old || policy) is
    estimated for each group, not for the whole batch, so the loss stays a sum. On-policy it is 0 and adds nothing.
    """
    positive, negative = terms.advantages > 0, terms.advantages < 0
    n, m = positive.sum(-1), negative.sum(-1)
    scores = _scores(terms)
    right = jnp.where(positive, scores, 0.0).sum(-1) / jnp.maximum(n, 1)
    of_wrong = jnp.where(negative, scores / temperature, -jnp.inf)
    shift = jax.lax.stop_gradient(jnp.where(m > 0, of_wrong.max(-1), 0.0))[..., None]
    exponentials = jnp.where(negative, jnp.exp(jnp.where(negative, of_wrong, shift) - shift), 0.0).sum(-1)
    wrong = temperature * (jnp.log(jnp.where(m > 0, exponentials / jnp.maximum(m, 1), 1.0)) + shift[..., 0])

    drift = -mean_over_tokens(_corrected(terms.log_ratio, terms), terms.mask)[..., 0]
    divergence = jnp.where(positive | negative, drift, 0.0).sum(-1) / jnp.maximum(n + m, 1)
    penalty = kl_penalty * jnp.maximum(divergence - kl_limit, 0.0) ** 2
    losses = jnp.where((n > 0) & (m > 0), (n + m) * (wrong - right + penalty), 0.0)
    return (terms.prompt_weights * losses).sum()
