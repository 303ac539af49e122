"""Checkpoints for tests: a family's tensors as its files have them, written by the safetensors library."""

import json

import numpy as np
from safetensors.numpy import save_file

from grpo_jax.config import ModelConfig
from grpo_jax.policy import Policy
from grpo_jax.policy.huggingface import read_architecture

VOCABULARY = 24
SHAPE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,  # 4 x 8 is not 16
    "max_position_embeddings": 64,
}
CONFIGS = {
    "llama": SHAPE | {"model_type": "llama", "tie_word_embeddings": False, "torch_dtype": "float32"},
    "qwen2": SHAPE | {"model_type": "qwen2", "tie_word_embeddings": True, "dtype": "float32"},
    "qwen3": SHAPE | {"model_type": "qwen3", "tie_word_embeddings": True, "dtype": "float32"},
    "mistral": SHAPE | {"model_type": "mistral", "sliding_window": 3, "torch_dtype": "float32"},
    "phi3": SHAPE | {"model_type": "phi3", "torch_dtype": "float32"},
    "gemma2": SHAPE | {"model_type": "gemma2", "sliding_window": 3, "torch_dtype": "float32"},
    "gemma3_text": SHAPE | {"model_type": "gemma3_text", "sliding_window": 3, "sliding_window_pattern": 2},
}
# The parameters of a block beside its matrices, as transformers names them.
NORMS = {"input_layernorm": 16, "post_attention_layernorm": 16}
GEMMA = NORMS | {"pre_feedforward_layernorm": 16, "post_feedforward_layernorm": 16}
QK = {"self_attn.q_norm": 8, "self_attn.k_norm": 8}
VECTORS = {
    "llama": NORMS,
    "qwen2": NORMS,
    "qwen3": NORMS | QK,
    "mistral": NORMS,
    "phi3": NORMS,
    "gemma2": GEMMA,
    "gemma3_text": GEMMA | QK,
}
MATRICES = {
    "self_attn.q_proj": (32, 16),
    "self_attn.k_proj": (16, 16),
    "self_attn.v_proj": (16, 16),
    "self_attn.o_proj": (16, 32),
    "mlp.gate_proj": (32, 16),
    "mlp.up_proj": (32, 16),
    "mlp.down_proj": (16, 32),
}
FUSED = {  # tensors of Phi-3, and the matrices that lie in them, one below the other
    "self_attn.qkv_proj": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "mlp.gate_up_proj": ("mlp.gate_proj", "mlp.up_proj"),
}


def shapes(name):
    """Return the shape of every tensor of this family's model."""
    found = {"model.embed_tokens.weight": (VOCABULARY, 16), "model.norm.weight": (16,)}
    if name in ("llama", "mistral", "phi3"):
        found["lm_head.weight"] = (VOCABULARY, 16)
    for layer in range(3):
        block = f"model.layers.{layer}"
        found |= {f"{block}.{key}.weight": shape for key, shape in MATRICES.items()}
        found |= {f"{block}.{key}.weight": (size,) for key, size in VECTORS[name].items()}
        if name == "qwen2":
            found |= {f"{block}.self_attn.{key}_proj.bias": (size,) for key, size in (("q", 32), ("k", 16), ("v", 16))}
        for fused, parts in FUSED.items() if name == "phi3" else ():
            rows = sum(found.pop(f"{block}.{part}.weight")[0] for part in parts)
            found[f"{block}.{fused}.weight"] = (rows, 16)
    return found


def unfused(tensors):
    """Return the tensors with those of Phi-3 cut into their matrices."""
    found = dict(tensors)
    for layer in range(3):
        for fused, parts in FUSED.items():
            ends = np.cumsum([MATRICES[part][0] for part in parts])
            whole = found.pop(f"model.layers.{layer}.{fused}.weight", None)
            if whole is not None:
                cut = np.split(whole, ends[:-1])
                found |= {f"model.layers.{layer}.{part}.weight": one for part, one in zip(parts, cut, strict=True)}
    return found


def random_tensors(name, dtype=np.float32):
    generator = np.random.default_rng(0)
    return {key: generator.normal(0, 0.4, shape).astype(dtype) for key, shape in shapes(name).items()}


def write(directory, name, tensors, **changes):
    """A checkpoint in one file, with what usually lies beside it."""
    directory.mkdir(exist_ok=True)
    (directory / "config.json").write_text(json.dumps(CONFIGS[name] | changes))
    (directory / "tokenizer.json").write_text("{}")
    (directory / "generation_config.json").write_text('{"eos_token_id": [1, 2]}')
    (directory / "README.md").write_text("the model card")
    save_file(tensors, directory / "model.safetensors")
    return directory


def policy_of(directory, scan_layers=False, mesh=None):
    model = ModelConfig(checkpoint=str(directory), scan_layers=scan_layers)
    return Policy(read_architecture(directory), model, mesh)
