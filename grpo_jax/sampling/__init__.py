"""Sampling: the engine boundary, noise, logit filters, the cache, and the JAX sampler."""

from grpo_jax.randomness import PRNG, Counter, Stream
from grpo_jax.sampling.ahead import one_ahead
from grpo_jax.sampling.engine import Capabilities, FinishedGroups, RolloutEngine, SamplingRequest
from grpo_jax.sampling.jax_engine import JaxEngine
from grpo_jax.sampling.lanes import automatic_lanes, cached_tokens, full_length_steps
from grpo_jax.sampling.noise import NOISES, Noise
from grpo_jax.sampling.sampler import ContinuousSampler, Sampler, make_continuous_sampler, make_sampler

__all__ = [
    "NOISES",
    "PRNG",
    "Capabilities",
    "ContinuousSampler",
    "Counter",
    "FinishedGroups",
    "JaxEngine",
    "Noise",
    "RolloutEngine",
    "Sampler",
    "SamplingRequest",
    "Stream",
    "automatic_lanes",
    "cached_tokens",
    "full_length_steps",
    "make_continuous_sampler",
    "make_sampler",
    "one_ahead",
]
