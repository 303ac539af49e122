"""Sampling: the engine boundary, noise, logit filters, the cache, the JAX sampler, and a vLLM server as an engine."""

from grpo_jax.randomness import PRNG, Counter, Stream
from grpo_jax.sampling.ahead import one_ahead
from grpo_jax.sampling.engine import Capabilities, EngineError, FinishedGroups, RolloutEngine, SamplingRequest
from grpo_jax.sampling.finished import check_finished
from grpo_jax.sampling.jax_engine import JaxEngine
from grpo_jax.sampling.lane_counts import automatic_lanes, cached_tokens, full_length_steps
from grpo_jax.sampling.noise import NOISES, Noise
from grpo_jax.sampling.programs import Continuous, SamplingPrograms, SamplingWeights, make_sampling_programs
from grpo_jax.sampling.sampler import Sampler
from grpo_jax.sampling.speculation import EarlierCompletions
from grpo_jax.sampling.vllm_engine import VllmEngine

__all__ = [
    "NOISES",
    "PRNG",
    "Capabilities",
    "Continuous",
    "Counter",
    "EarlierCompletions",
    "EngineError",
    "FinishedGroups",
    "JaxEngine",
    "Noise",
    "RolloutEngine",
    "Sampler",
    "SamplingPrograms",
    "SamplingRequest",
    "SamplingWeights",
    "Stream",
    "VllmEngine",
    "automatic_lanes",
    "cached_tokens",
    "check_finished",
    "full_length_steps",
    "make_sampling_programs",
    "one_ahead",
]
