"""Rotary position embedding (arXiv 2104.09864), in the half-split layout of Hugging Face's checkpoints."""

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from grpo_jax.config import RopeConfig


class Rotation(NamedTuple):
    """Cosines and sines of the angles at every position, times an amplitude, computed once and used by all layers."""

    cos: Float[Array, "*batch T half"]
    sin: Float[Array, "*batch T half"]


def inverse_frequencies(config: RopeConfig, head_dim: int) -> Float[np.ndarray, " half"]:
    """Return the radians per position of each pair of dimensions: theta^(-2i/rotated), scaled as the config says."""
    rotated = config.rotated(head_dim)
    base = config.theta ** (-np.arange(0, rotated, 2, dtype=np.float64) / rotated)
    return SCALINGS[config.scaling](base, config).astype(np.float32)


def _none(frequencies: np.ndarray, config: RopeConfig) -> np.ndarray:
    return frequencies


def _linear(frequencies: np.ndarray, config: RopeConfig) -> np.ndarray:
    """Interpolate positions (arXiv 2306.15595): each counts as 1/factor."""
    return frequencies / config.factor


def _llama3(frequencies: np.ndarray, config: RopeConfig) -> np.ndarray:
    """Scale as Llama 3.1: divide low frequencies by the factor, keep high ones, and blend between the two."""
    turns = config.original_length * frequencies / (2 * math.pi)  # over the original context
    low, high = config.low_frequency_factor, config.high_frequency_factor
    keep = np.clip((turns - low) / (high - low), 0.0, 1.0)
    return keep * frequencies + (1 - keep) * frequencies / config.factor


def _yarn(frequencies: np.ndarray, config: RopeConfig) -> np.ndarray:
    """Scale as YaRN (arXiv 2309.00071): as `_llama3`, but blend linearly in the dimension, not in its turns."""
    half = len(frequencies)

    def dimension(turns: float) -> float:
        """Return the index, perhaps a fraction, of the frequency that turns so often over the original context."""
        return half * math.log(config.original_length / (2 * math.pi * turns)) / math.log(config.theta)

    first, last = dimension(config.high_frequency_factor), dimension(config.low_frequency_factor)
    if config.whole_dimensions:
        first, last = math.floor(first), math.ceil(last)
    first, last = max(first, 0), min(last, 2 * half - 1)
    stretched = np.clip((np.arange(half) - first) / (last - first or 0.001), 0.0, 1.0)
    return (1 - stretched) * frequencies + stretched * frequencies / config.factor


def _longrope(frequencies: np.ndarray, config: RopeConfig) -> np.ndarray:
    """Scale as LongRoPE (arXiv 2402.13753): divide each frequency by its own factor, which a search has found."""
    return frequencies / np.array(config.short_factors)


SCALINGS: Mapping[str, Callable[[np.ndarray, RopeConfig], np.ndarray]] = {
    "none": _none,
    "linear": _linear,
    "llama3": _llama3,
    "yarn": _yarn,
    "longrope": _longrope,
}
# The amplitudes of the papers, which sharpen attention over longer contexts.
AMPLITUDES: Mapping[str, Callable[[RopeConfig], float]] = {
    "yarn": lambda config: 0.1 * math.log(config.factor) + 1.0,
    "longrope": lambda config: (
        math.sqrt(1.0 + math.log(config.factor) / math.log(config.original_length)) if config.factor > 1 else 1.0
    ),
}


def amplitude(config: RopeConfig) -> float:
    """Return the factor of rotated queries and keys."""
    usual = AMPLITUDES.get(config.scaling)
    return 1.0 if usual is None else config.amplitude or usual(config)


def rotation(config: RopeConfig, head_dim: int, positions: Int[Array, "*batch T"]) -> Rotation:
    """Return the rotation at each position, in float32: bfloat16 cannot tell position 257 from 256."""
    angles = jnp.einsum("...t,f->...tf", positions.astype(jnp.float32), inverse_frequencies(config, head_dim))
    cos, sin, factor = jnp.cos(angles), jnp.sin(angles), amplitude(config)
    return Rotation(cos, sin) if factor == 1 else Rotation(factor * cos, factor * sin)


def rotate(x: Float[Array, "*batch T heads head_dim"], by: Rotation) -> Float[Array, "*batch T heads head_dim"]:
    """Rotate dimension i of every head with dimension i + half. Those from 2 half on stay as they are."""
    half = by.cos.shape[-1]
    first, second, rest = jnp.split(x.astype(jnp.float32), (half, 2 * half), axis=-1)
    cos, sin = by.cos[..., None, :], by.sin[..., None, :]
    turned = [first * cos - second * sin, second * cos + first * sin]
    return jnp.concatenate(turned + ([rest] if rest.size else []), axis=-1).astype(x.dtype)
