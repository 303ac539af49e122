"""Measurements while training: the noise scale, and the gradient's two arms."""

import dataclasses
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from grpo_jax.training.metrics import results
from grpo_jax.training.noise_scale import NoiseSums, noise_metrics, noise_sums
from tests.training.test_update import batches_of, experiment, rollouts


def test_the_noise_scale_is_unbiased_for_micro_batches_of_any_sizes():
    """Groups with mean gradient mu and covariance of trace V, in micro-batches of 1, 2 and 4, many times over."""
    rng = np.random.default_rng(0)
    mu, deviations = np.array([0.3, -0.2, 0.1]), np.array([1.0, 0.5, 0.7])
    draws, sizes = 4000, (1, 2, 4)

    @jax.jit
    @jax.vmap
    def estimate(gradients):
        sums, first = NoiseSums(*(jnp.zeros(()),) * 3), 0
        for size in sizes:
            lengths = jnp.where(jnp.arange(4)[:, None] < size, 3, 0) * jnp.ones((4, 2), jnp.int32)
            part = {"w": gradients[first : first + size].sum(0)}
            sums = jax.tree.map(jnp.add, sums, noise_sums(part, SimpleNamespace(completion_lengths=lengths)))
            first += size
        found = noise_metrics({"w": gradients.sum(0)}, sums, jnp.array(True))
        return found["noise/signal"].total, found["noise/variance"].total

    signal, variance = estimate(jnp.array(rng.normal(mu, deviations, (draws, 7, 3)), jnp.float32))
    for found, expected in ((signal, (mu**2).sum()), (variance, (deviations**2).sum())):
        assert float(found.mean()) == pytest.approx(expected, abs=4 * float(found.std()) / draws**0.5)


def test_one_micro_batch_says_nothing_of_noise():
    found = noise_metrics(
        {"w": jnp.ones(2)}, NoiseSums(jnp.float32(4), jnp.float32(16), jnp.float32(2)), jnp.array(True)
    )
    assert all(float(mean.weight) == 0 == float(mean.total) for mean in found.values())


def test_the_arms_add_up_to_the_gradient():
    """|g+ + g-|^2 from their norms and their cosine is the square of the update's gradient."""
    params, found, advantages = rollouts()
    made = experiment()
    (batch,) = batches_of(made, found, advantages)
    arms = {name: float(value) for name, value in made.programs.arms(params, batch).items()}
    positive, negative = arms["arms/positive_norm"], arms["arms/negative_norm"]
    squared = positive**2 + negative**2 + 2 * positive * negative * arms["arms/cosine"]
    _, metrics = made.programs.update(made.programs.init_state(params), batch)
    assert squared**0.5 == pytest.approx(float(metrics["grad_norm"].total), rel=1e-4)
    assert -1 <= arms["arms/cosine"] <= 1


def test_only_one_arm_has_a_gradient_where_all_are_right():
    params, found, advantages = rollouts()
    made = experiment(objective__name="psr")
    (batch,) = batches_of(made, found, np.abs(advantages))
    arms = made.programs.arms(params, batch)
    assert float(arms["arms/positive_norm"]) > 0 == float(arms["arms/negative_norm"])


def test_the_effective_sample_is_whole_on_policy_and_smaller_off_it():
    params, found, advantages = rollouts()
    made = experiment()
    shares = []
    for shift in (0.0, 0.5):
        wave = np.sin(np.arange(found.logprobs.size)).reshape(found.logprobs.shape)
        moved = dataclasses.replace(found, logprobs=found.logprobs + shift * wave)
        (batch,) = batches_of(made, moved, advantages)
        _, metrics = made.programs.update(made.programs.init_state(params), batch)
        shares.append(results([jax.device_get(metrics)])["effective_sample_share"])
    assert shares[0] == pytest.approx(1.0, abs=1e-5)
    assert 0.5 < shares[1] < 0.98
    trainer = made.programs.logprobs(params, batch)  # the ratio is to these, and weights correct for the sampler
    batch = dataclasses.replace(batch, groups=dataclasses.replace(batch.groups, old_logprobs=trainer))
    _, metrics = made.programs.update(made.programs.init_state(params), batch)
    found = results([jax.device_get(metrics)])
    assert found["effective_sample_share"] == pytest.approx(1.0, abs=1e-5)
    assert found["sampler_sample_share"] == pytest.approx(shares[1], abs=1e-5)
