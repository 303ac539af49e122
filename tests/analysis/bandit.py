"""Bandits with known gradients: a prompt is a vector of logits over four one-token answers, of which two are right."""

import jax
import numpy as np

from grpo_jax.analysis.rollouts import Sampled
from grpo_jax.types import Rollouts

RIGHT = np.array([True, True, False, False])
ONE = np.log([0.25, 0.162, 0.4, 0.188])[None]  # p = .412


def many(prompts, seed=0, spread=1.0):
    """Return the logits of prompts that differ."""
    return np.random.default_rng(seed).normal(size=(prompts, 4)) * spread + ONE


def scores(logits):
    """[Q, 4, 4]: the gradient by the prompts' common shift of the logits, of log pi of each answer."""
    return np.eye(4)[None] - np.asarray(jax.nn.softmax(logits))[:, None]


def probabilities(logits):
    return np.asarray(jax.nn.softmax(logits.astype(np.float64)), np.float64)


def success(logits):
    return probabilities(logits)[:, RIGHT].sum(1)


def draw(logits, samples, seed=0):
    """Rollouts of each prompt, and their vectors [Q, K, 4]."""
    rng = np.random.default_rng(seed)
    answers = np.array([rng.choice(4, samples, p=p / p.sum()) for p in probabilities(logits)])
    vectors = scores(logits)[np.arange(len(logits))[:, None], answers].astype(np.float32)
    return sampled(RIGHT[answers]), vectors


def sampled(right, scored=None, lengths=None):
    """Return the analysed rollouts, for completions that are right or wrong."""
    q, k = right.shape
    lengths = np.ones((q, k), np.int32) if lengths is None else lengths
    rollouts = Rollouts(
        prompt_tokens=np.ones((q, 1), np.int32),
        prompt_lengths=np.ones(q, np.int32),
        completion_tokens=np.ones((q, k, int(lengths.max())), np.int32),
        completion_lengths=lengths,
        logprobs=np.zeros((q, k, int(lengths.max())), np.float32),
        stop_reasons=np.ones((q, k), np.int32),
    )
    scored = np.ones((q, k), bool) if scored is None else scored
    return Sampled(rollouts, right.astype(np.float32), scored, right)


def mean_arms(logits):
    """[Q, 4] each: a prompt's mean vector of its right and of its wrong answers."""
    p, of = probabilities(logits), scores(logits)
    return tuple(
        np.einsum("qa,qad->qd", p * kind, of) / (p * kind).sum(1)[:, None] for kind in (RIGHT, ~RIGHT)
    )  # fmt: skip
