"""A real model: SmolLM2-135M-Instruct, where `make smollm2` has put it, against the logits that transformers gives."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest

from grpo_jax.config import ModelConfig, SamplingConfig
from grpo_jax.policy import Policy
from grpo_jax.policy.huggingface import load_checkpoint, read_architecture
from grpo_jax.sampling import Counter, Sampler, Stream
from grpo_jax.types import PromptBatch

HERE = Path(__file__).parent
MODEL = HERE.parent.parent / "models" / "smollm2_135m_instruct"
EXPECTED = json.loads((HERE / "smollm2_logits.json").read_text())  # transformers 5.23 with torch 2.13, float32


@pytest.fixture(scope="module")
def loaded():
    if not MODEL.is_dir():
        pytest.skip("make smollm2 makes the checkpoint")
    policy = Policy(read_architecture(MODEL), ModelConfig(str(MODEL)))
    on_one = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    return policy, load_checkpoint(MODEL, policy, on_one)


@pytest.mark.slow
@pytest.mark.trap(31)
def test_logits(loaded):
    policy, params = loaded
    logits = np.asarray(jax.jit(policy.apply)(params, np.array([EXPECTED["token_ids"]], np.int32))[0, -1])
    np.testing.assert_allclose(logits[EXPECTED["top_ids"]], EXPECTED["top_logits"], atol=1e-3)
    assert np.argsort(-logits)[:10].tolist() == EXPECTED["top_ids"]


@pytest.mark.slow
def test_greedy_decoding(loaded):
    policy, params = loaded
    prompt, expected = EXPECTED["token_ids"], EXPECTED["greedy_ids"]
    greedy = SamplingConfig(temperature=0.0, top_k=0, top_p=1.0, min_p=0.0)
    sample = Sampler(policy, greedy, group_size=1, max_new_tokens=len(expected), stop_tokens=(2,)).sample
    prompts = PromptBatch(np.zeros(1, np.uint32), np.array([prompt], np.int32), np.array([len(prompt)], np.int32))
    rollouts = jax.jit(sample)(params, prompts, Counter.of(0, Stream.TEST, 0))
    assert rollouts.completion_tokens[0, 0].tolist() == expected
