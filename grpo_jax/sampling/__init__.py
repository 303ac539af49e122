"""Sampling: the engine boundary, noise, logit filters, the cache, the JAX sampler, and a vLLM server as an engine."""

from grpo_jax.randomness import PRNG, Counter, Stream
from grpo_jax.sampling.ahead import one_ahead
from grpo_jax.sampling.engine import Capabilities, EngineError, FinishedGroups, RolloutEngine, SamplingRequest
from grpo_jax.sampling.jax_engine import JaxEngine
from grpo_jax.sampling.lanes import automatic_lanes, cached_tokens, full_length_steps
from grpo_jax.sampling.noise import NOISES, Noise
from grpo_jax.sampling.sampler import ContinuousSampler, Sampler, make_continuous_sampler, make_sampler
from grpo_jax.sampling.speculation import Earlier
from grpo_jax.sampling.vllm_engine import VllmEngine

__all__ = [
    "NOISES",
    "PRNG",
    "Capabilities",
    "ContinuousSampler",
    "Counter",
    "Earlier",
    "EngineError",
    "FinishedGroups",
    "JaxEngine",
    "Noise",
    "RolloutEngine",
    "Sampler",
    "SamplingRequest",
    "Stream",
    "VllmEngine",
    "automatic_lanes",
    "cached_tokens",
    "full_length_steps",
    "make_continuous_sampler",
    "make_sampler",
    "one_ahead",
]
