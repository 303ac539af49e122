"""Small models of every family, made and saved by transformers, none of whose parameters is at a special value."""

import json
from functools import cache
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM, Gemma3Config, Gemma3ForConditionalGeneration

VOCABULARY = 61
SHAPE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 16,  # 6 x 16 is not 48: a head's size of its own
    "max_position_embeddings": 128,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": 0,
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 1000.0,
    "factor": 4.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
MOE = {
    "model_type": "qwen3_moe",
    "num_experts": 5,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 24,
    "intermediate_size": 1,  # of layers without experts
}
YARN = {"rope_type": "yarn", "rope_theta": 1000.0, "factor": 4.0, "original_max_position_embeddings": 32}
LONGROPE = {
    "rope_type": "longrope",
    "rope_theta": 1000.0,
    "partial_rotary_factor": 0.75,
    "short_factor": [1.0, 1.3, 2.5],
    "long_factor": [1.0, 4.0, 8.0],
}
LOCAL = {
    "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6},
    "sliding_attention": {"rope_type": "default", "rope_theta": 100.0},
}
PATTERN = ["sliding_attention", "sliding_attention", "full_attention", "sliding_attention"]
GEMMA2 = {"model_type": "gemma2", "sliding_window": 5, "num_hidden_layers": 4, "query_pre_attn_scalar": 7}
GEMMA3 = {"model_type": "gemma3_text", "sliding_window": 4, "num_hidden_layers": 4, "query_pre_attn_scalar": 9}
MODELS = {
    "llama": {"model_type": "llama"},
    "llama3_tied": {"model_type": "llama", "rope_parameters": LLAMA3, "tie_word_embeddings": True},
    "qwen2": {"model_type": "qwen2", "tie_word_embeddings": True},
    "qwen2_sliding": {"model_type": "qwen2", "use_sliding_window": True, "sliding_window": 4, "max_window_layers": 1},
    "qwen3": {"model_type": "qwen3", "rms_norm_eps": 1e-3},
    "mistral": {"model_type": "mistral", "sliding_window": 5},
    "mistral_full": {"model_type": "mistral", "sliding_window": None, "tie_word_embeddings": True},
    "ministral": {"model_type": "ministral", "sliding_window": 4, "num_hidden_layers": 4, "layer_types": PATTERN},
    "qwen3_yarn": {"model_type": "qwen3", "rope_parameters": YARN},
    "qwen2_yarn": {
        "model_type": "qwen2",
        "rope_parameters": YARN | {"truncate": False, "beta_fast": 8.0, "beta_slow": 2.0, "attention_factor": 1.3},
    },
    "granite": {
        "model_type": "granite",
        "embedding_multiplier": 3.0,
        "attention_multiplier": 0.2,
        "residual_multiplier": 0.6,
        "logits_scaling": 0.5,
        "tie_word_embeddings": True,
    },
    "olmo2": {"model_type": "olmo2"},
    "qwen3_moe": MOE | {"norm_topk_prob": True},
    "qwen3_moe_free": MOE | {"num_experts_per_tok": 1},
    "phi3": {"model_type": "phi3", "sliding_window": 5},
    "phi4_mini": {
        "model_type": "phi3",
        "head_dim": 8,  # 6 of which are rotated
        "rope_parameters": LONGROPE,
        "original_max_position_embeddings": 40,
        "sliding_window": 200,  # beyond max_position_embeddings
        "tie_word_embeddings": True,
    },
    "gemma2": GEMMA2 | {"attn_logit_softcapping": 1.5, "final_logit_softcapping": 2.5},  # strong enough to matter
    "gemma2_free": GEMMA2 | {"final_logit_softcapping": None, "tie_word_embeddings": False},
    "gemma3": GEMMA3 | {"layer_types": PATTERN, "rope_parameters": LOCAL, "final_logit_softcapping": 3.0},
    "gemma3_free": GEMMA3 | {"sliding_window_pattern": 2, "tie_word_embeddings": False},
}


def model(name: str) -> torch.nn.Module:
    """The model, in float32, with attention as the paper has it: the fused kernels know no soft-cap."""
    values = SHAPE | MODELS[name]
    config = AutoConfig.for_model(**values)
    torch.manual_seed(sum(map(ord, name)))
    made = AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    with torch.no_grad():
        for key, parameter in made.named_parameters():
            parameter.add_(torch.randn_like(parameter) * (0.3 if parameter.ndim == 1 else 0.15))
            if name.startswith("gemma") and ".post_" in key:
                parameter.add_(2.0)  # a tied Gemma of so few layers would otherwise repeat its last token
    return made


def with_images() -> torch.nn.Module:
    """A Gemma 3 that also sees images, whose text model is that of "gemma3" but for the soft-cap."""
    vision = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = SHAPE | MODELS["gemma3"] | {"final_logit_softcapping": None}
    config = Gemma3Config(text_config=text, vision_config=vision | {"image_size": 28, "patch_size": 14})
    torch.manual_seed(0)
    made = Gemma3ForConditionalGeneration._from_config(config, attn_implementation="eager").eval()
    made.model.language_model.load_state_dict(model("gemma3").model.state_dict())
    made.tie_weights()
    return made


@cache
def saved(name: str, folder: Path) -> tuple[torch.nn.Module, Path]:
    """The model and the directory where it is saved."""
    made, directory = model(name), folder / name
    made.save_pretrained(directory)
    return made, directory


def with_old_keys(directory: Path) -> None:
    """Rewrites a config.json with the keys that transformers 4 wrote."""
    path = directory / "config.json"
    values = json.loads(path.read_text())
    rope = values.pop("rope_parameters")
    values["torch_dtype"] = values.pop("dtype")
    if "full_attention" in rope:
        values["rope_local_base_freq"] = rope["sliding_attention"]["rope_theta"]
        rope = rope["full_attention"]
    values |= {key: rope.pop(key) for key in ("rope_theta", "partial_rotary_factor") if key in rope}
    values["rope_scaling"] = None if rope["rope_type"] == "default" else rope
    path.write_text(json.dumps(values))
