"""Convert a Llama in a GGUF file (llama.cpp's format) to a directory in Hugging Face's format.

Sizes, tokens and the chat template come from the GGUF file's metadata. The library gguf reads and dequantises it. The
parameters are written as float32, as every reader of GGUF uses them: a quantised value is d*q + m with float16 d and m,
which has more digits than float16 or bfloat16 can hold.
"""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGUFReader, TokenType
from gguf.quants import dequantize
from safetensors.numpy import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

# GGUF's names of tensors to Hugging Face's, without the `.weight` that all of them end in.
OUTER_NAMES = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",  # absent where the embeddings are tied
}
LAYER_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
LAYER = re.compile(r"blk\.(?P<index>\d+)\.(?P<name>\w+)")

# The projections that llama.cpp stores in interleaved RoPE order, and the metadata that counts their heads.
ROTATED = {"self_attn.q_proj": "llama.attention.head_count", "self_attn.k_proj": "llama.attention.head_count_kv"}

# How a text is split before byte pairs are merged, by llama.cpp's name.
PRE_TOKENIZERS = {
    "smollm": pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    ),
}


class UnknownModel(ValueError):
    """The GGUF file contains something that this module cannot convert."""


class Metadata(dict[str, Any]):
    """The metadata of a GGUF file."""

    def __missing__(self, key: str) -> Any:
        raise UnknownModel(f"the GGUF file does not say {key}")


def convert(gguf: Path, directory: Path) -> None:
    """Write config.json, generation_config.json, model.safetensors, tokenizer.json and tokenizer_config.json.

    Args:
      gguf: the GGUF file.
      directory: an existing directory for the files.

    Raises:
      UnknownModel: if the model is not a Llama, or has a tensor or a tokenizer that is not in the tables above.
      OSError, SafetensorError: if the files could not be written.
    """
    reader = GGUFReader(gguf)
    metadata = Metadata({name: field.contents() for name, field in reader.fields.items()})
    if metadata["general.architecture"] != "llama":
        raise UnknownModel(f"general.architecture is {metadata['general.architecture']!r} and not 'llama'")

    parameters = read_parameters(reader, metadata)
    texts = {
        "config.json": model_config(metadata, tied="lm_head.weight" not in parameters),
        "generation_config.json": token_ids(metadata),
        "tokenizer_config.json": tokenizer_config(metadata),
    }
    for name, content in texts.items():
        (directory / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    (directory / "tokenizer.json").write_text(tokenizer(metadata).to_str(pretty=True), encoding="utf-8")
    weights = directory / "model.safetensors"
    save_file(parameters, weights, metadata={"format": "pt"})
    weights.chmod((directory / "config.json").stat().st_mode)  # safetensors makes its files private


def read_parameters(reader: GGUFReader, metadata: Metadata) -> dict[str, np.ndarray]:
    """Return all tensors by their Hugging Face names, as float32, with the rows of q and k in Hugging Face's order."""
    parameters = {}
    for tensor in reader.tensors:
        name = hugging_face_name(tensor.name)
        weights = dequantize(tensor.data, tensor.tensor_type)
        heads = next((metadata[count] for rotated, count in ROTATED.items() if rotated in name), None)
        parameters[name] = np.ascontiguousarray(half_split(weights, heads) if heads else weights, np.float32)

    layers = range(metadata["llama.block_count"])
    expected = {hugging_face_name(f"{name}.weight") for name in OUTER_NAMES if name != "output"}
    expected |= {hugging_face_name(f"blk.{index}.{name}.weight") for index in layers for name in LAYER_NAMES}
    if missing := sorted(expected - parameters.keys()):
        raise UnknownModel(f"the GGUF file has no tensor for {missing[0]}")
    return parameters


def hugging_face_name(name: str) -> str:
    """Return the Hugging Face name of a tensor: `blk.3.attn_q.weight` is `model.layers.3.self_attn.q_proj.weight`."""
    stem, _, suffix = name.rpartition(".")
    layer = LAYER.fullmatch(stem)
    known = LAYER_NAMES.get(layer["name"]) if layer else OUTER_NAMES.get(stem)
    if known is None or suffix != "weight":
        raise UnknownModel(f"the GGUF file's tensor {name} has no counterpart in a Hugging Face Llama")
    return f"model.layers.{layer['index']}.{known}.weight" if layer else f"{known}.weight"


def half_split(weights: np.ndarray, heads: int) -> np.ndarray:
    """Return rows [heads * head_dim, embed] in half-split RoPE order instead of the interleaved one, head by head.

    RoPE rotates pairs of rows: rows 2i and 2i+1 of a head in llama.cpp, rows i and i + head_dim / 2 in Hugging Face's
    format. llama.cpp's conversion permutes the rows accordingly, and this function reverses that.
    """
    pairs = weights.reshape(heads, -1, 2, weights.shape[-1])  # [head, pair, member, embed]
    return pairs.swapaxes(1, 2).reshape(weights.shape)


def model_config(metadata: Metadata, tied: bool) -> dict[str, Any]:
    """Return config.json, with the keys of the hub's Llama checkpoints."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": metadata["llama.vocab_size"],
        "hidden_size": metadata["llama.embedding_length"],
        "intermediate_size": metadata["llama.feed_forward_length"],
        "num_hidden_layers": metadata["llama.block_count"],
        "num_attention_heads": metadata["llama.attention.head_count"],
        "num_key_value_heads": metadata["llama.attention.head_count_kv"],
        "head_dim": metadata["llama.rope.dimension_count"],
        "max_position_embeddings": metadata["llama.context_length"],
        "rope_theta": metadata["llama.rope.freq_base"],
        "rope_scaling": None,
        # GGUF stores it as float32, in which 1e-05 is 9.999999747378752e-06.
        "rms_norm_eps": float(str(np.float32(metadata["llama.attention.layer_norm_rms_epsilon"]))),
        # Common to all models of the architecture `llama`, and absent from GGUF.
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": tied,
        "torch_dtype": "float32",
        "use_cache": True,
        **token_ids(metadata),
    }


def token_ids(metadata: Metadata) -> dict[str, int]:
    """Return the ids of the tokens that begin, end and pad a text."""
    return {
        "bos_token_id": metadata["tokenizer.ggml.bos_token_id"],
        "eos_token_id": metadata["tokenizer.ggml.eos_token_id"],
        "pad_token_id": metadata["tokenizer.ggml.padding_token_id"],
    }


def tokenizer(metadata: Metadata) -> Tokenizer:
    """Return the byte-level BPE tokenizer, with its control tokens as special tokens."""
    kind, pre_tokenizer = metadata["tokenizer.ggml.model"], metadata["tokenizer.ggml.pre"]
    if kind != "gpt2" or pre_tokenizer not in PRE_TOKENIZERS:
        raise UnknownModel(
            f"the GGUF file's tokenizer is {kind!r} with {pre_tokenizer!r}; known is 'gpt2' with {[*PRE_TOKENIZERS]}"
        )
    tokens: list[str] = metadata["tokenizer.ggml.tokens"]
    merges = [tuple(merge.split(" ")) for merge in metadata["tokenizer.ggml.merges"]]
    made = Tokenizer(models.BPE(vocab={token: index for index, token in enumerate(tokens)}, merges=merges))
    made.pre_tokenizer = PRE_TOKENIZERS[pre_tokenizer]
    made.decoder = decoders.ByteLevel()
    kinds = metadata["tokenizer.ggml.token_type"]
    control = [token for token, kind in zip(tokens, kinds, strict=True) if kind == TokenType.CONTROL]
    made.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in control])
    return made


def tokenizer_config(metadata: Metadata) -> dict[str, Any]:
    """Return tokenizer_config.json: the roles of special tokens, and the chat template."""
    tokens = metadata["tokenizer.ggml.tokens"]
    roles = {"bos": "bos", "eos": "eos", "pad": "padding", "unk": "unknown"}
    return {
        # Hugging Face's generic class uses tokenizer.json as it is; other classes replace its pre-tokenizer.
        "tokenizer_class": "PreTrainedTokenizerFast",
        **{f"{role}_token": tokens[metadata[f"tokenizer.ggml.{name}_token_id"]] for role, name in roles.items()},
        "add_prefix_space": metadata["tokenizer.ggml.add_space_prefix"],
        "clean_up_tokenization_spaces": False,
        "model_max_length": metadata["llama.context_length"],
        "chat_template": metadata["tokenizer.chat_template"],
    }
