"""Reinforcement learning of language models from verifiable rewards, with contrastive groups, in JAX."""

__version__ = "0.1.0"
