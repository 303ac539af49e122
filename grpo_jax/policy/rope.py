"""Rotary position embedding (arXiv 2104.09864), in the half-split layout of Hugging Face's checkpoints."""

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from grpo_jax.config import RopeConfig


class Rotation(NamedTuple):
    """Cosines and sines of the angles at every position, computed once and used by all layers."""

    cos: Float[Array, "*batch T half"]
    sin: Float[Array, "*batch T half"]


def inverse_frequencies(config: RopeConfig, head_dim: int) -> Float[np.ndarray, " half"]:
    """Return the radians per position of each pair of dimensions: theta^(-2i/head_dim), scaled as the config says."""
    base = config.theta ** (-np.arange(0, head_dim, 2, dtype=np.float64) / head_dim)
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


SCALINGS: Mapping[str, Callable[[np.ndarray, RopeConfig], np.ndarray]] = {
    "none": _none,
    "linear": _linear,
    "llama3": _llama3,
}


def rotation(frequencies: Float[np.ndarray, " half"], positions: Int[Array, "*batch T"]) -> Rotation:
    """Return the rotation at each position, in float32: bfloat16 cannot tell position 257 from 256."""
    angles = jnp.einsum("...t,f->...tf", positions.astype(jnp.float32), frequencies)
    return Rotation(jnp.cos(angles), jnp.sin(angles))


def rotate(x: Float[Array, "*batch T heads head_dim"], by: Rotation) -> Float[Array, "*batch T heads head_dim"]:
    """Rotate dimension i of every head with dimension i + head_dim/2."""
    first, second = jnp.split(x.astype(jnp.float32), 2, axis=-1)
    cos, sin = by.cos[..., None, :], by.sin[..., None, :]
    return jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1).astype(x.dtype)
