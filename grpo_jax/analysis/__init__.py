"""Statistics of single rollouts' gradients at a checkpoint: variance, signal, and the two arms.

Gradients are analysed by their inner products. On-policy, the gradient of every objective is a linear combination of
one vector per rollout: the gradient of its log-probability. Estimators, group sizes and arms differ only in the
coefficients. So the vectors are computed once (`vectors`), and everything else consists of products of their
combinations (`products`). A product of two means always uses different rollouts, or different prompts, so that shared
noise does not bias it.

The letters of axes are those of `grpo_jax.types`. S rollouts of each of N prompts are cut into groups of G in R ways.
"""

from grpo_jax.analysis.analyse import Settings, analyse

__all__ = ["Settings", "analyse"]
