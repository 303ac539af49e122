"""The families of models: what each has of the decoder's variants, and how its checkpoints say so.

One row of the table is all there is to a family. Defaults of keys that a config.json leaves out are those of
transformers 5.23.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

FULL, SLIDING = "full_attention", "sliding_attention"

# Keys of a config.json that change nothing of what the decoder computes, as transformers 4 and 5 write them: names and
# origins, ids that the tokenizer's files decide, how values are started, kept and returned, and defaults of generation.
HARMLESS = frozenset(
    (
        "architectures",
        "model_type",
        "transformers_version",
        "_name_or_path",
        "name_or_path",
        "_commit_hash",
        "transformers.js_config",
        "unsloth_fixed",
        "unsloth_version",
        "is_llama_config",
        "tokenizer_class",
        "torch_dtype",
        "dtype",
        "use_bfloat16",
        "torchscript",
        "attn_implementation",
        "_attn_implementation",
        "_attn_implementation_internal",
        "_attn_implementation_autoset",
        "_experts_implementation",
        "_flash_attn_2_enabled",
        "_output_attentions",
        "pretraining_tp",
        "bos_token_id",
        "eos_token_id",
        "pad_token_id",
        "sep_token_id",
        "decoder_start_token_id",
        "bos_token",
        "eos_token",
        "pad_token",
        "initializer_range",
        "use_cache",
        "cache_implementation",
        "return_dict",
        "use_return_dict",
        "output_attentions",
        "output_hidden_states",
        "output_scores",
        "return_dict_in_generate",
        "is_decoder",
        "max_position_embeddings",
        "id2label",
        "label2id",
        "num_labels",
        "problem_type",
        "finetuning_task",
        "task_specific_params",
        "tf_legacy_loss",
        "prefix",
        "model_max_length",
        "max_sequence_length",
        "use_unpad_attn",
        "base_model_tp_plan",
        "base_model_pp_plan",
        "hidden_act",
        "ignore_keys_at_rope_validation",
        "max_length",
        "min_length",
        "do_sample",
        "early_stopping",
        "num_beams",
        "num_beam_groups",
        "diversity_penalty",
        "temperature",
        "top_k",
        "top_p",
        "typical_p",
        "repetition_penalty",
        "length_penalty",
        "no_repeat_ngram_size",
        "encoder_no_repeat_ngram_size",
        "bad_words_ids",
        "num_return_sequences",
        "suppress_tokens",
        "begin_suppress_tokens",
        "forced_bos_token_id",
        "forced_eos_token_id",
        "remove_invalid_values",
        "exponential_decay_length_penalty",
    )
)
# Keys of any family that may have one value only, with which they ask for nothing.
OFF: Mapping[str, Any] = {
    "quantization_config": None,
    "auto_map": None,  # names code of the checkpoint's own
    "attention_dropout": 0.0,
    "hidden_dropout": 0.0,
    "resid_pdrop": 0.0,
    "embd_pdrop": 0.0,
    "attn_pdrop": 0.0,
    "residual_dropout": 0.0,
    "partial_rotary_factor": 1.0,
    "rope_interleaved": False,
    "use_mrope": False,
    "is_encoder_decoder": False,
    "add_cross_attention": False,
    "cross_attention_hidden_size": None,
    "tie_encoder_decoder": False,
    "encoder_hidden_size": None,
    "chunk_size_feed_forward": 0,
    "pruned_heads": {},
    "is_causal": True,
}


@dataclass(frozen=True)
class Family:
    """How the config.json and the tensors of a family are to be understood."""

    architecture: str  # its class in transformers
    defaults: Mapping[str, Any]  # the keys that are read, and what each is where the file leaves it out
    fixed: Mapping[str, Any]  # keys that may have this value only
    features: Mapping[str, Any]  # fields of ArchitectureConfig, the same for the whole family
    norms: Mapping[str, str]  # of a block: our name -> the checkpoint's
    layer_types: Callable[[Mapping[str, Any]], Sequence[str]]  # where no key layer_types lists them
    local_theta: float | None = None  # base of the sliding layers' rotary frequencies; None: they have no own


def _all_full(values: Mapping[str, Any]) -> Sequence[str]:
    return [FULL]


def _all_alike(values: Mapping[str, Any]) -> Sequence[str]:
    return [SLIDING if values["sliding_window"] else FULL]


def _upper_slide(values: Mapping[str, Any]) -> Sequence[str]:
    slides = values["use_sliding_window"] and values["sliding_window"]
    full = values["max_window_layers"] if slides else values["num_hidden_layers"]
    return [SLIDING if index >= full else FULL for index in range(values["num_hidden_layers"])]


def _every_second_full(values: Mapping[str, Any]) -> Sequence[str]:
    return [SLIDING, FULL]


def _last_of_pattern_full(values: Mapping[str, Any]) -> Sequence[str]:
    return [SLIDING] * (values["sliding_window_pattern"] - 1) + [FULL]


_DEFAULTS: Mapping[str, Any] = {  # common to all but for what a family overrides
    "vocab_size": 32000,
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": None,  # as many as there are query heads
    "head_dim": None,  # hidden_size / num_attention_heads
    "max_position_embeddings": 2048,
    "rms_norm_eps": 1e-6,
    "tie_word_embeddings": False,
    "rope_theta": 10_000.0,
    "rope_scaling": None,
    "rope_parameters": None,
}
_QWEN: Mapping[str, Any] = {
    **_DEFAULTS,
    "vocab_size": 151936,
    "intermediate_size": 22016,
    "num_key_value_heads": 32,
    "max_position_embeddings": 32768,
    "use_sliding_window": False,
    "sliding_window": 4096,
    "max_window_layers": 28,
    "layer_types": None,
}
_GEMMA: Mapping[str, Any] = {
    **_DEFAULTS,
    "hidden_size": 2304,
    "intermediate_size": 9216,
    "num_hidden_layers": 26,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 256,
    "tie_word_embeddings": True,
    "query_pre_attn_scalar": 256,
    "sliding_window": 4096,
    "layer_types": None,
    "final_logit_softcapping": None,
}
_PLAIN: Mapping[str, Any] = {
    "activation": "silu",
    "qkv_bias": False,
    "qk_norm": False,
    "post_norms": False,
    "norm_offset": False,
    "scaled_embedding": False,
}
_OF_GEMMA: Mapping[str, Any] = {
    "activation": "gelu_tanh",
    "qkv_bias": False,
    "qk_norm": False,
    "post_norms": True,
    "norm_offset": True,
    "scaled_embedding": True,
}
_SILU: Mapping[str, Any] = {"hidden_act": "silu"}
_GELU: Mapping[str, Any] = {
    "hidden_activation": "gelu_pytorch_tanh",
    "attention_bias": False,
    "use_bidirectional_attention": False,
}
_NORMS: Mapping[str, str] = {"attention_norm": "input_layernorm", "mlp_norm": "post_attention_layernorm"}
_FOUR_NORMS: Mapping[str, str] = {
    "attention_norm": "input_layernorm",
    "attention_post_norm": "post_attention_layernorm",
    "mlp_norm": "pre_feedforward_layernorm",
    "mlp_post_norm": "post_feedforward_layernorm",
}

_MISTRAL = Family(
    architecture="MistralForCausalLM",
    defaults={
        **_DEFAULTS,
        "intermediate_size": 14336,
        "num_key_value_heads": 8,
        "max_position_embeddings": 131072,
        "sliding_window": 4096,
    },
    fixed=_SILU,
    features=_PLAIN,
    norms=_NORMS,
    layer_types=_all_alike,
)

FAMILIES: Mapping[str, Family] = {  # by the key model_type
    "llama": Family(
        architecture="LlamaForCausalLM",
        defaults=_DEFAULTS,
        fixed={**_SILU, "attention_bias": False, "mlp_bias": False},
        features=_PLAIN,
        norms=_NORMS,
        layer_types=_all_full,
    ),
    "qwen2": Family(
        architecture="Qwen2ForCausalLM",
        defaults=_QWEN,
        fixed=_SILU,
        features={**_PLAIN, "qkv_bias": True},
        norms=_NORMS,
        layer_types=_upper_slide,
    ),
    "qwen3": Family(
        architecture="Qwen3ForCausalLM",
        defaults={**_QWEN, "head_dim": 128},
        fixed={**_SILU, "attention_bias": False},
        features={**_PLAIN, "qk_norm": True},
        norms=_NORMS,
        layer_types=_upper_slide,
    ),
    "mistral": _MISTRAL,
    "ministral": replace(  # Mistral whose layers may differ
        _MISTRAL, architecture="MinistralForCausalLM", defaults={**_MISTRAL.defaults, "layer_types": None}
    ),
    "gemma2": Family(
        architecture="Gemma2ForCausalLM",
        defaults={
            **_GEMMA,
            "vocab_size": 256000,
            "max_position_embeddings": 8192,
            "attn_logit_softcapping": 50.0,
            "final_logit_softcapping": 30.0,
        },
        fixed=_GELU,
        features=_OF_GEMMA,
        norms=_FOUR_NORMS,
        layer_types=_every_second_full,
    ),
    "gemma3_text": Family(
        architecture="Gemma3ForCausalLM",
        defaults={
            **_GEMMA,
            "vocab_size": 262208,
            "max_position_embeddings": 131072,
            "rope_theta": 1_000_000.0,
            "rope_local_base_freq": 10_000.0,
            "sliding_window_pattern": 6,
            "_sliding_window_pattern": None,  # written by transformers 5, which lists layer_types beside it
        },
        # transformers reads Gemma 3's attn_logit_softcapping and does not apply it: it would have two meanings
        fixed={**_GELU, "attn_logit_softcapping": None},
        features={**_OF_GEMMA, "qk_norm": True},
        norms=_FOUR_NORMS,
        layer_types=_last_of_pattern_full,
        local_theta=10_000.0,
    ),
}

WRAPPERS: Mapping[str, str] = {"gemma3": "gemma3_text"}  # models with images -> the family of their text_config
