"""Sampling from a quantised policy: its own tokens and log-probabilities, in any lane."""

import jax
import numpy as np
import pytest

from tests.policy.test_int8 import dequantised
from tests.policy.test_policy import VARIANTS, completion_logprobs, make, randomised
from tests.sampling.test_continuous import at_once, in_turn


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
