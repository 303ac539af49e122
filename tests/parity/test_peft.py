"""Adapters as we write them, loaded by PEFT on top of the checkpoint that they were trained on."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import peft
import pytest
from transformers import AutoModelForCausalLM

from grpo_jax.config import LoraConfig
from grpo_jax.policy import trained_of, with_trained
from grpo_jax.policy.huggingface import read_config_file, save_adapters
from tests.parity.models import saved
from tests.parity.test_parity import apply, assert_same, load, right_padded

LORA = LoraConfig(rank=4, alpha=6.0, modules=("query", "key", "value", "out", "gate", "up", "down"))


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning")  # PEFT reads it from transformers
@pytest.mark.parametrize(
    ("name", "scan_layers", "modules"),
    [
        ("llama3_tied", False, LORA.modules),
        ("qwen2", True, LORA.modules),
        ("qwen3", False, ("query", "value")),
        ("gemma3", True, ("out", "down")),
        ("phi3", False, LORA.modules),  # of which PEFT has one adapter for each tensor of several modules
        ("phi3", True, ("query", "value", "up")),
    ],
)
def test_peft_computes_what_we_do(name, scan_layers, modules, tmp_path):
    _, directory = saved(name, tmp_path)
    plain, frozen = load(directory, scan_layers)
    lora = dataclasses.replace(LORA, modules=modules)
    policy = dataclasses.replace(plain, model=dataclasses.replace(plain.model, lora=lora))
    generator = np.random.default_rng(0)
    adapters = jax.tree.map(
        lambda leaf: jnp.asarray(generator.normal(0, 0.3, leaf.shape), jnp.float32), trained_of(policy.shapes())
    )
    params = with_trained(frozen, adapters)
    save_adapters(tmp_path / "adapters", policy, params, read_config_file(directory))
    model = AutoModelForCausalLM.from_pretrained(directory, attn_implementation="eager").eval()
    ours, before = apply(policy, params, right_padded()), apply(plain, frozen, right_padded())
    assert np.abs(ours - before).max() > 0.1
    assert_same(ours, peft.PeftModel.from_pretrained(model, tmp_path / "adapters").eval())
