"""Statistics of single rollouts' gradients at a checkpoint: variance, signal, and the two arms.

Gradients are analysed by their inner products. On-policy every objective's gradient is a linear combination of one
vector per rollout, the gradient of its log-probability; what estimators, group sizes and arms differ in are the
coefficients. So vectors are made once (`vectors`), and everything else is products of combinations of them
(`products`). A product of two means is always of different rollouts, or of different prompts, so that nothing is biased
by noise that both share.

The letters of axes are those of `grpo_jax.types`. S rollouts of each of N prompts are cut into groups of G in R ways.
"""

from grpo_jax.analysis.analyse import Settings, analyse

__all__ = ["Settings", "analyse"]
