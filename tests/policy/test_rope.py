"""Rotary positions."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from grpo_jax.config import RopeConfig
from grpo_jax.policy.rope import inverse_frequencies, rotate, rotation

PLAIN = RopeConfig(
    theta=10_000.0,
    scaling="none",
    factor=1.0,
    low_frequency_factor=1.0,
    high_frequency_factor=4.0,
    original_length=8192,
)
YARN = RopeConfig(theta=10_000.0, scaling="yarn", factor=4.0, high_frequency_factor=32.0, original_length=2048)
LLAMA3 = dataclasses.replace(PLAIN, theta=500_000.0, scaling="llama3", factor=8.0)


def rotated(x, position, config=PLAIN):
    return rotate(x[None, None, None], rotation(config, x.shape[-1], jnp.array([[position]])))[0, 0, 0]


@pytest.mark.trap(31)
def test_half_split_layout():
    """Dimension i turns with i + half, as in Hugging Face's checkpoints; interleaved pairs would be another model."""
    x = jnp.zeros(8).at[1].set(1.0)
    turned = rotated(x, 3)
    angle = 3 * 10_000.0 ** (-2 / 8)
    np.testing.assert_allclose(
        turned, np.zeros(8) + np.eye(8)[1] * math.cos(angle) + np.eye(8)[5] * math.sin(angle), atol=1e-6
    )


def test_scores_depend_on_the_distance_only():
    q, k = jax.random.normal(jax.random.key(0), (2, 16))
    scores = [float(rotated(q, start + 7) @ rotated(k, start)) for start in (0, 1, 50, 300)]
    np.testing.assert_allclose(scores, scores[0], rtol=1e-4)


def test_positions_are_exact_in_bfloat16_compute():
    """bfloat16 cannot tell 257 from 256; the angles can."""
    x = jnp.ones(8, jnp.bfloat16)
    assert not np.array_equal(rotated(x, 256), rotated(x, 257))


def test_linear_scaling_divides_positions():
    scaled = dataclasses.replace(PLAIN, scaling="linear", factor=4.0)
    x = jax.random.normal(jax.random.key(0), (16,))
    np.testing.assert_allclose(rotated(x, 20, scaled), rotated(x, 5), atol=1e-5)


def test_llama3_scaling():
    """Wavelengths beyond 8192 / 1 are stretched 8 times, below 8192 / 4 kept, and between blended."""
    base = inverse_frequencies(dataclasses.replace(LLAMA3, scaling="none"), 128).astype(float)
    scaled = inverse_frequencies(LLAMA3, 128).astype(float)
    wavelength = 2 * math.pi / base
    long, short = wavelength > 8192, wavelength < 2048
    np.testing.assert_allclose(scaled[long], base[long] / 8, rtol=1e-6)
    np.testing.assert_allclose(scaled[short], base[short], rtol=1e-6)
    between = ~long & ~short
    assert between.any()
    smooth = (8192 / wavelength[between] - 1) / 3
    np.testing.assert_allclose(scaled[between], (1 - smooth) * base[between] / 8 + smooth * base[between], rtol=1e-5)


@pytest.mark.parametrize("whole", [True, False])
def test_yarn_scaling(whole):
    """Frequencies that turn 32 times in 2,048 tokens are kept, and those that turn once are divided by 4."""
    base = inverse_frequencies(dataclasses.replace(YARN, scaling="none"), 128).astype(float)
    scaled = inverse_frequencies(dataclasses.replace(YARN, whole_dimensions=whole), 128).astype(float)
    # theta^(-i/64) * 2048 / 2 pi is 32 at i = 16.1 and 1 at i = 40.2.
    first, last = (16, 41) if whole else (16.1, 40.2)
    stretched = np.clip((np.arange(64) - first) / (last - first), 0, 1)
    np.testing.assert_allclose(scaled, base * (1 - stretched + stretched / 4), rtol=5e-3)
    np.testing.assert_allclose(scaled[[15, 42]], base[[15, 42]] * [1, 1 / 4], rtol=1e-6)


@pytest.mark.parametrize(("given", "factor"), [(0.0, 1 + 0.1 * math.log(4)), (1.5, 1.5)])
def test_yarn_makes_rotated_vectors_longer(given, factor):
    x = jax.random.normal(jax.random.key(0), (16,))
    turned = rotated(x, 20, dataclasses.replace(YARN, amplitude=given))
    assert np.linalg.norm(turned) == pytest.approx(factor * np.linalg.norm(x), rel=1e-5)


def test_a_share_of_the_dimensions_is_rotated():
    """The first ones, as if the head had no others."""
    x = jax.random.normal(jax.random.key(0), (16,))
    turned = rotated(x, 20, dataclasses.replace(PLAIN, share=0.75))
    np.testing.assert_array_equal(turned, jnp.concatenate([rotated(x[:12], 20), x[12:]]))


def test_longrope_scaling():
    """Each frequency has its own factor, and vectors get longer by sqrt(1 + ln 32 / ln 4096)."""
    config = RopeConfig(1e4, scaling="longrope", factor=32.0, original_length=4096, short_factors=(1.0, 2.0, 4.0, 5.0))
    base = inverse_frequencies(dataclasses.replace(config, scaling="none"), 8)
    np.testing.assert_allclose(inverse_frequencies(config, 8), base / np.array([1, 2, 4, 5]), rtol=1e-6)
    x = jax.random.normal(jax.random.key(0), (8,))
    assert np.linalg.norm(rotated(x, 20, config)) == pytest.approx(math.sqrt(17 / 12) * np.linalg.norm(x), rel=1e-5)
    shorter = dataclasses.replace(config, factor=1e-5)  # as in transformers, no factor makes vectors shorter
    assert np.linalg.norm(rotated(x, 20, shorter)) == pytest.approx(np.linalg.norm(x), rel=1e-5)
