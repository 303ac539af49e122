"""Adapters in PEFT's format: names and layouts, by what their products add to the checkpoint's own tensors."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file

from grpo_jax.config import ConfigError, LoraConfig
from grpo_jax.policy import trained_of, with_trained
from grpo_jax.policy.huggingface import load_checkpoint, read_config_file, save_adapters, save_checkpoint
from tests.policy.huggingface.checkpoints import policy_of, random_tensors, write

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
@pytest.mark.parametrize(
    ("name", "modules"),
    [
        ("qwen2", LORA.modules),
        ("phi3", LORA.modules),
        ("phi3", ("out", "query", "value", "up")),  # key and gate have rows of the fused tensors, but no adapters
        ("phi3", ("key", "gate", "down")),
    ],
)
def test_what_is_written_adds_up_to_the_merged_checkpoint(tmp_path, name, modules, scan_layers):
    tensors = random_tensors(name)
    source = write(tmp_path / "source", name, tensors)
    policy, params = adapted(source, scan_layers, dataclasses.replace(LORA, modules=modules))
    save_adapters(tmp_path / "adapters", policy, params, read_config_file(source), base_model="BASE")
    save_checkpoint(tmp_path / "merged", policy.base, policy.merge(params), source, "float32")

    assert sorted(path.name for path in (tmp_path / "adapters").iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    config = json.loads((tmp_path / "adapters" / "adapter_config.json").read_text())
    assert (config["peft_type"], config["base_model_name_or_path"]) == ("LORA", "BASE")
    found, merged = (
        load_file(tmp_path / "adapters" / "adapter_model.safetensors"),
        load_file(tmp_path / "merged" / "model.safetensors"),
    )
    added = set()
    for key in [key.removesuffix(".lora_A.weight") for key in found if key.endswith(".lora_A.weight")]:
        a, b = (found.pop(f"{key}.lora_{part}.weight") for part in "AB")
        module, theirs = key.rpartition(".")[2], f"{key.removeprefix('base_model.model.')}.weight"
        rank = config["rank_pattern"].get(module, config["r"])
        scale = config["alpha_pattern"].get(module, config["lora_alpha"]) / rank
        outputs, inputs = tensors[theirs].shape
        assert (a.shape, b.shape) == ((rank, inputs), (outputs, rank))
        np.testing.assert_allclose(merged.pop(theirs), tensors[theirs] + scale * b @ a, atol=1e-5)
        added.add(module)
    assert found == {}
    assert sorted(added) == config["target_modules"]
    for theirs, tensor in merged.items():
        np.testing.assert_array_equal(tensor, tensors[theirs])


def test_modules_that_share_a_tensor_have_one_adapter_of_their_ranks_sum(tmp_path):
    source = write(tmp_path / "source", "phi3", random_tensors("phi3"))
    policy, params = adapted(source, lora=dataclasses.replace(LORA, modules=("query", "key", "value", "up", "down")))
    save_adapters(tmp_path / "adapters", policy, params, read_config_file(source))
    config = json.loads((tmp_path / "adapters" / "adapter_config.json").read_text())
    assert config["target_modules"] == ["down_proj", "gate_up_proj", "qkv_proj"]
    assert (config["r"], config["rank_pattern"]) == (3, {"qkv_proj": 9})
    assert (config["lora_alpha"], config["alpha_pattern"]) == (6.0, {"qkv_proj": 18.0})


def test_only_the_modules_with_adapters_are_named(tmp_path):
    source = write(tmp_path / "source", "llama", random_tensors("llama"))
    policy, params = adapted(source, lora=dataclasses.replace(LORA, modules=("value", "down")))
    save_adapters(tmp_path / "adapters", policy, params, read_config_file(source), "bfloat16")
    config = json.loads((tmp_path / "adapters" / "adapter_config.json").read_text())
    assert config["target_modules"] == ["down_proj", "v_proj"]
    names = load_file(tmp_path / "adapters" / "adapter_model.safetensors")
    assert {name.split(".")[-3] for name in names} == {"down_proj", "v_proj"}


def test_mistakes(tmp_path):
    source = write(tmp_path / "source", "llama", random_tensors("llama"))
    policy, params = adapted(source)
    with pytest.raises(ConfigError, match=r"model\.lora=None: there are no adapters"):
        save_adapters(tmp_path / "adapters", policy.base, params, read_config_file(source))
    with pytest.raises(ConfigError, match="source: already exists; name a directory that does not"):
        save_adapters(source, policy, params, read_config_file(source))
    wrapped = dataclasses.replace(read_config_file(source), wrapped=True)
    with pytest.raises(ConfigError, match="is a model that also reads images"):
        save_adapters(tmp_path / "adapters", policy, params, wrapped)
    assert {path.name for path in tmp_path.iterdir()} == {"source"}
