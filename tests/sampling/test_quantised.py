"""Sampling from a quantised policy: its own tokens and log-probabilities, in any lane."""

import jax
import numpy as np
import pytest

from grpo_jax.sampling import Sampler
from grpo_jax.training.programs import REMAT_OPTIONS
from tests.policy.test_int8 import dequantised
from tests.policy.test_policy import VARIANTS, completion_logprobs, make, randomised
from tests.sampling.test_continuous import COUNTER, PLAIN, PROMPTS, SETTINGS, at_once, in_turn


@pytest.mark.trap(47)
def test_its_log_probabilities_are_those_of_the_quantised_policy():
    """Also in lanes, where tokens are the same. They are not those of the policy that was quantised."""
    policy = make(**VARIANTS["llama"], scan_layers=True)
    params = randomised(policy)
    weights = jax.device_get(jax.jit(policy.quantise)(params))
    whole = at_once(policy.quantised, weights)
    batches = [[9, 4, 1, 0], [2, 3, 5, 6], [7, 8, 10, 11]]
    found, _ = in_turn(policy.quantised, weights, batches, lanes=5, in_flight=2)
    np.testing.assert_array_equal(found.completion_tokens, whole.completion_tokens)
    np.testing.assert_allclose(found.logprobs, whole.logprobs, atol=2e-5)
    valid = np.arange(whole.completion_tokens.shape[-1]) < whole.completion_lengths[..., None]
    rows = whole.prompt_tokens, whole.prompt_lengths, whole.completion_tokens
    own, others = (completion_logprobs(policy, one, *rows) for one in (dequantised(weights), params))
    np.testing.assert_allclose(whole.logprobs[valid], own[valid], atol=5e-5)
    assert np.abs(whole.logprobs[valid] - others[valid]).mean() > 1e-3


def test_kernels_are_converted_where_they_are_used():
    """XLA would convert those of unrolled layers before the loop that decodes, and hold them all in float32.

    By default XLA for CPU orders operations so that many can run at once, and so converts many within a step.
    """
    policy = make(num_layers=6, embed_dim=64, mlp_dim=512)
    sampler = jax.jit(Sampler(policy.quantised, PLAIN, **SETTINGS).sample)
    weights = policy.quantised.shapes()
    kernels = sum(leaf.size for leaf in jax.tree.leaves(weights) if leaf.dtype == np.int8)
    lowered, options = sampler.lower(weights, PROMPTS, COUNTER), REMAT_OPTIONS["cpu"]
    held = lowered.compile(compiler_options=options).memory_analysis().temp_size_in_bytes
    assert held < 4 * kernels / 2
