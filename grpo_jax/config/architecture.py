"""The decoder's variants, and the families of models: which variants each has, and how its checkpoints name them.

The differences between families are fields of `ArchitectureConfig`. One row of `FAMILIES` is all there is to a family.
Defaults of keys that a config.json leaves out are those of transformers 5.23.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal

from grpo_jax.config.marks import Count, CountOrZero, MayBeEmpty, NonNegative, Positive, Range


@dataclass(frozen=True)
class RopeConfig:
    """Rotary positions, and how they are stretched beyond the context length for which a model was made."""

    theta: Positive = 10_000.0  # the usual base of the rotary frequencies
    scaling: Literal["none", "linear", "llama3", "yarn", "longrope"] = "none"  # all but none read fields below
    factor: Annotated[float, Range(1)] = 1.0  # how many times longer than original_length contexts are
    low_frequency_factor: Positive = 1.0  # llama3, yarn: wavelengths above original_length / this are stretched fully
    high_frequency_factor: Positive = 4.0  # llama3, yarn (usually 32): wavelengths below original_length / this are not
    original_length: Count = 8192  # llama3, yarn, longrope: context length before the extension
    amplitude: NonNegative = 0.0  # yarn, longrope: of rotated queries and keys; 0: by policy/rope.py, from the factor
    whole_dimensions: bool = True  # yarn: the blend between stretched and not begins and ends at a whole dimension
    # longrope: what each frequency is divided by in rows of at most original_length tokens. Longer ones are refused.
    short_factors: Annotated[tuple[float, ...], MayBeEmpty()] = ()
    share: Annotated[float, Range(0, 1, open_low=True)] = 1.0  # Phi-4-mini: of a head's dimensions, how many rotate

    def rotated(self, head_dim: int) -> int:
        """Return how many dimensions of a head are rotated: the first ones."""
        return int(head_dim * self.share)


@dataclass(frozen=True, kw_only=True)
class ArchitectureConfig:
    """The decoder's shape. Defaults are the plain decoder of Llama."""

    vocab_size: CountOrZero = 0  # 0: the tokenizer's; a larger one adds unused rows, which devices can then share
    embed_dim: Count
    num_layers: Count
    num_heads: Count
    num_kv_heads: Count  # grouped-query attention: each serves num_heads / num_kv_heads query heads
    head_dim: Count
    mlp_dim: Count  # of each expert, if there are experts
    num_experts: CountOrZero = (
        0  # Qwen3 MoE: MLPs of a layer, of which a router chooses some for each token; 0: one MLP
    )
    experts_per_token: CountOrZero = 0  # Qwen3 MoE: how many it chooses
    normed_routing: bool = False  # Qwen3 MoE: the weights of a token's experts are divided by their sum
    activation: Literal["silu", "gelu_tanh"] = "silu"  # of the MLP's gate; gelu_tanh: Gemma
    qkv_bias: bool = False  # Qwen2
    qk_norm: bool = False  # Qwen3, Gemma 3: queries and keys are normed, each head by itself
    qk_norm_of_all_heads: bool = False  # OLMo 2: they are normed over all heads together
    pre_norms: bool = True  # not OLMo 2: the inputs of attention and MLP are normed
    post_norms: bool = False  # Gemma, OLMo 2: the outputs of attention and MLP are normed before the residual sum
    norm_offset: bool = False  # Gemma: norms scale by 1 + their parameter
    scaled_embedding: bool = False  # Gemma: embeddings are multiplied by sqrt(embed_dim)
    embedding_multiplier: Positive = 1.0  # Granite: of embeddings
    residual_multiplier: Positive = 1.0  # Granite: of the outputs of attention and MLP
    logit_divisor: Positive = 1.0  # Granite
    tied_head: bool = False  # the output head is the transposed embedding: most small models
    norm_epsilon: Positive = 1e-6
    query_scale: NonNegative = 0.0  # Gemma, Granite: of the products of queries and keys; 0: head_dim ** -0.5
    attention_cap: NonNegative = 0.0  # Gemma 2: scores become cap * tanh(scores / cap); 0 is off
    logit_cap: NonNegative = 0.0  # Gemma 2: the same for the logits; 0 is off
    layer_types: tuple[Literal["full", "sliding"], ...] = ("full",)  # of the first layers, repeated for all others
    sliding_window: CountOrZero = 0  # Mistral, Gemma: tokens that a sliding layer sees, the token itself included
    rope: RopeConfig
    local_rope: RopeConfig | None = None  # Gemma 3: for sliding layers; None: rope is for all layers

    @property
    def layers(self) -> tuple[Literal["full", "sliding"], ...]:
        """The type of every layer."""
        return tuple(self.layer_types[index % len(self.layer_types)] for index in range(self.num_layers))


FULL, SLIDING = "full_attention", "sliding_attention"  # types of layers in a config.json

# Fields whose value a config.json gives. Without the key, or if it is null, they have their defaults.
KEYS: Mapping[str, str] = {
    "attention_cap": "attn_logit_softcapping",
    "logit_cap": "final_logit_softcapping",
    "embedding_multiplier": "embedding_multiplier",
    "residual_multiplier": "residual_multiplier",
    "logit_divisor": "logits_scaling",
    "num_experts": "num_experts",
    "experts_per_token": "num_experts_per_tok",
    "normed_routing": "norm_topk_prob",
}


@dataclass(frozen=True)
class Family:
    """A family of models: its variants of the decoder, and how to read its config.json and its tensors."""

    architecture: str  # its class in transformers
    defaults: Mapping[str, Any]  # the keys that it has, and the value of each where the file leaves it out
    fixed: Mapping[str, Any]  # keys that may have this value only
    features: Mapping[str, Any]  # fields of ArchitectureConfig whose value is not the default for the whole family
    norms: Mapping[str, str]  # a block's norms: our name -> the checkpoint's
    layer_types: Callable[[Mapping[str, Any]], Sequence[str]]  # values -> types of layers, without a key layer_types
    # A block's modules that share a tensor: our name -> the checkpoint's. Their rows follow each other in this order.
    fused: Mapping[str, str] = field(default_factory=dict)
    mlp_dim: str = "intermediate_size"  # the key with the MLP's width
    local_theta: float | None = None  # base of the sliding layers' rotary frequencies; None: that of all layers


def _all_full(values: Mapping[str, Any]) -> Sequence[str]:
    return [FULL]


def _all_alike(values: Mapping[str, Any]) -> Sequence[str]:
    return [SLIDING if values.get("use_sliding_window", True) and values["sliding_window"] else FULL]


def _alike_if_shorter(values: Mapping[str, Any]) -> Sequence[str]:
    """Return the one type of all layers: sliding, unless the window holds the longest context."""
    return [SLIDING if (values["sliding_window"] or math.inf) < values["max_position_embeddings"] else FULL]


def _upper_slide(values: Mapping[str, Any]) -> Sequence[str]:
    slides = values["use_sliding_window"] and values["sliding_window"]
    full = values["max_window_layers"] if slides else values["num_hidden_layers"]
    return [SLIDING if index >= full else FULL for index in range(values["num_hidden_layers"])]


def _every_second_full(values: Mapping[str, Any]) -> Sequence[str]:
    return [SLIDING, FULL]


def _last_of_pattern_full(values: Mapping[str, Any]) -> Sequence[str]:
    return [SLIDING] * (values["sliding_window_pattern"] - 1) + [FULL]


_DEFAULTS: Mapping[str, Any] = {  # of all families that do not override them
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
_OF_GEMMA: Mapping[str, Any] = {
    "activation": "gelu_tanh",
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

_LLAMA = Family(
    architecture="LlamaForCausalLM",
    defaults=_DEFAULTS,
    fixed={**_SILU, "attention_bias": False, "mlp_bias": False},
    features={},
    norms=_NORMS,
    layer_types=_all_full,
)

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
    features={},
    norms=_NORMS,
    layer_types=_all_alike,
)

FAMILIES: Mapping[str, Family] = {  # by the key model_type
    "llama": _LLAMA,
    "qwen2": Family(
        architecture="Qwen2ForCausalLM",
        defaults=_QWEN,
        fixed=_SILU,
        features={"qkv_bias": True},
        norms=_NORMS,
        layer_types=_upper_slide,
    ),
    "qwen3": Family(
        architecture="Qwen3ForCausalLM",
        defaults={**_QWEN, "head_dim": 128},
        fixed={**_SILU, "attention_bias": False},
        features={"qk_norm": True},
        norms=_NORMS,
        layer_types=_upper_slide,
    ),
    "qwen3_moe": Family(
        architecture="Qwen3MoeForCausalLM",
        defaults={
            **_DEFAULTS,
            "vocab_size": 151936,
            "hidden_size": 2048,
            "intermediate_size": 6144,  # of layers without experts, of which there are none
            "moe_intermediate_size": 768,
            "num_hidden_layers": 24,
            "num_key_value_heads": 4,
            "max_position_embeddings": 32768,
            "use_sliding_window": False,
            "sliding_window": 4096,
            "max_window_layers": 28,  # not read by this family
            "num_experts": 128,
            "num_experts_per_tok": 8,
            "norm_topk_prob": False,
        },
        fixed={**_SILU, "attention_bias": False, "decoder_sparse_step": 1, "mlp_only_layers": []},
        features={"qk_norm": True},
        norms=_NORMS,
        layer_types=_all_alike,
        mlp_dim="moe_intermediate_size",
    ),
    "mistral": _MISTRAL,
    "ministral": replace(  # Mistral whose layers may differ
        _MISTRAL, architecture="MinistralForCausalLM", defaults={**_MISTRAL.defaults, "layer_types": None}
    ),
    "granite": replace(  # Llama with multipliers
        _LLAMA,
        architecture="GraniteForCausalLM",
        defaults={
            **_DEFAULTS,
            "embedding_multiplier": 1.0,
            "attention_multiplier": 1.0,
            "residual_multiplier": 1.0,
            "logits_scaling": 1.0,
            "attention_dropout": 0.0,  # published files have that of pretraining; this decoder has none
        },
    ),
    "olmo2": Family(
        architecture="Olmo2ForCausalLM",
        defaults={**_DEFAULTS, "vocab_size": 50304, "rms_norm_eps": 1e-5},
        fixed={**_SILU, "attention_bias": False},
        features={"qk_norm": True, "qk_norm_of_all_heads": True, "pre_norms": False, "post_norms": True},
        norms={"attention_post_norm": "post_attention_layernorm", "mlp_post_norm": "post_feedforward_layernorm"},
        layer_types=_all_full,
    ),
    "phi3": Family(
        architecture="Phi3ForCausalLM",
        defaults={
            **_DEFAULTS,
            "vocab_size": 32064,
            "hidden_size": 3072,
            "intermediate_size": 8192,
            "max_position_embeddings": 4096,
            "original_max_position_embeddings": 4096,
            "partial_rotary_factor": 1.0,
            "rms_norm_eps": 1e-5,
            "sliding_window": None,
            "auto_map": None,  # published files name a copy of transformers' own code
        },
        fixed={**_SILU, "attention_bias": False, "mlp_bias": False},
        features={},
        norms=_NORMS,
        layer_types=_alike_if_shorter,
        fused={
            "attention.query": "self_attn.qkv_proj",
            "attention.key": "self_attn.qkv_proj",
            "attention.value": "self_attn.qkv_proj",
            "mlp.gate": "mlp.gate_up_proj",
            "mlp.up": "mlp.gate_up_proj",
        },
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
        # transformers reads Gemma 3's attn_logit_softcapping but does not apply it, so it is ambiguous
        fixed={**_GELU, "attn_logit_softcapping": None},
        features={**_OF_GEMMA, "qk_norm": True},
        norms=_FOUR_NORMS,
        layer_types=_last_of_pattern_full,
        local_theta=10_000.0,
    ),
}

WRAPPERS: Mapping[str, str] = {"gemma3": "gemma3_text"}  # models with images -> the family of their text_config
