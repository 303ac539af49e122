"""Adapters in PEFT's format: names and layouts, by what their products add to the checkpoint's own tensors."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file

from grpo_jax.config import ConfigError, LoraConfig
from grpo_jax.policy import trained_of, with_trained
from grpo_jax.policy.huggingface import load_checkpoint, save_adapters, save_checkpoint
from tests.policy.huggingface.checkpoints import MATRICES, policy_of, random_tensors, write

LORA = LoraConfig(rank=3, alpha=6.0, modules=("query", "key", "value", "out", "gate", "up", "down"))


def adapted(source, scan_layers=False, lora=LORA):
    """A policy on a checkpoint, with adapters that have learned something."""
    plain = policy_of(source, scan_layers)
    policy = dataclasses.replace(plain, model=dataclasses.replace(plain.model, lora=lora))
    frozen = load_checkpoint(source, plain, jax.sharding.SingleDeviceSharding(jax.devices()[0]))
    shapes = trained_of(policy.shapes())
    generator = np.random.default_rng(1)
    adapters = jax.tree.map(lambda leaf: generator.normal(0, 0.3, leaf.shape).astype(np.float32), shapes)
    return policy, with_trained(frozen, adapters)


@pytest.mark.parametrize("scan_layers", [False, True])
def test_what_is_written_adds_up_to_the_merged_checkpoint(tmp_path, scan_layers):
    tensors = random_tensors("qwen2")
    source = write(tmp_path / "source", "qwen2", tensors)
    policy, params = adapted(source, scan_layers)
    save_adapters(tmp_path / "adapters", policy, params, source)
    save_checkpoint(tmp_path / "merged", policy.base, policy.merge(params), source, "float32")

    assert sorted(path.name for path in (tmp_path / "adapters").iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    config = json.loads((tmp_path / "adapters" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(source)
    assert (config["peft_type"], config["r"], config["lora_alpha"]) == ("LORA", 3, 6.0)
    found, merged = (
        load_file(tmp_path / "adapters" / "adapter_model.safetensors"),
        load_file(tmp_path / "merged" / "model.safetensors"),
    )
    for layer in range(3):
        for name, (outputs, inputs) in MATRICES.items():
            assert name.split(".")[1] in config["target_modules"]
            key = f"model.layers.{layer}.{name}"
            a, b = (found.pop(f"base_model.model.{key}.lora_{part}.weight") for part in "AB")
            assert (a.shape, b.shape) == ((3, inputs), (outputs, 3))
            expected = tensors[f"{key}.weight"] + 2.0 * b @ a
            np.testing.assert_allclose(merged.pop(f"{key}.weight"), expected, atol=1e-5)
    assert found == {}
    for name, tensor in merged.items():
        np.testing.assert_array_equal(tensor, tensors[name])


def test_only_the_modules_with_adapters_are_named(tmp_path):
    source = write(tmp_path / "source", "llama", random_tensors("llama"))
    policy, params = adapted(source, lora=dataclasses.replace(LORA, modules=("value", "down")))
    save_adapters(tmp_path / "adapters", policy, params, source, "bfloat16")
    config = json.loads((tmp_path / "adapters" / "adapter_config.json").read_text())
    assert config["target_modules"] == ["down_proj", "v_proj"]
    names = load_file(tmp_path / "adapters" / "adapter_model.safetensors")
    assert {name.split(".")[-3] for name in names} == {"down_proj", "v_proj"}


def test_mistakes(tmp_path):
    source = write(tmp_path / "source", "llama", random_tensors("llama"))
    policy, params = adapted(source)
    with pytest.raises(ConfigError, match=r"model\.lora=None: there are no adapters"):
        save_adapters(tmp_path / "adapters", policy.base, params, source)
    with pytest.raises(ConfigError, match="source: already exists; name a directory that does not"):
        save_adapters(source, policy, params, source)
    fused = write(tmp_path / "fused", "phi3", random_tensors("phi3"))
    with pytest.raises(ConfigError, match="keeps query, key, value, gate, up in tensors of several modules"):
        save_adapters(tmp_path / "adapters", *adapted(fused), fused)
    assert {path.name for path in tmp_path.iterdir()} == {"source", "fused"}
