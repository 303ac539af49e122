"""A GGUF file is converted back to the checkpoint that it was made from."""

import json

import numpy as np
import pytest
from llama_gguf import UnknownModel, convert
from safetensors.numpy import load_file
from transformers import AutoConfig, AutoTokenizer

from tests.tools.gguf_files import (
    CONTROL,
    EMBED,
    HEAD_DIM,
    HEADS,
    KV_HEADS,
    LAYERS,
    MLP,
    TEMPLATE,
    TOKENS,
    tiny,
    write_gguf,
)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    directory = tmp_path_factory.mktemp("checkpoint")
    convert(write_gguf(directory / "tiny.gguf", tiny().stored), directory)
    return directory


def test_every_tensor_gets_its_name_and_its_values(checkpoint):
    found, expected = load_file(checkpoint / "model.safetensors"), tiny().expected
    assert found.keys() == expected.keys()
    for name, weights in expected.items():
        assert found[name].dtype == np.float32
        np.testing.assert_array_equal(found[name], weights, err_msg=name)


def test_attention_scores_are_those_of_llama_cpp(checkpoint):
    """Interleaved RoPE over the stored rows and half-split RoPE over the written rows give the same scores."""
    stored, found = tiny().stored, load_file(checkpoint / "model.safetensors")
    embeddings = np.random.default_rng(1).normal(size=(5, EMBED))
    angles = np.arange(5)[:, None] * 100000.0 ** (-np.arange(0, HEAD_DIM, 2) / HEAD_DIM)  # [position, pair]

    def scores(weights, name, rotate):
        query = rotate((embeddings @ weights[name.format("q")].T).reshape(5, KV_HEADS, -1, HEAD_DIM))
        key = rotate((embeddings @ weights[name.format("k")].T).reshape(5, KV_HEADS, 1, HEAD_DIM))
        return np.einsum("tkgh,skoh->kgts", query, key)

    def turn(first, second):
        cos, sin = (part[:, None, None] for part in (np.cos(angles), np.sin(angles)))
        return first * cos - second * sin, second * cos + first * sin

    def interleaved_rope(x):
        return np.stack(turn(x[..., 0::2], x[..., 1::2]), -1).reshape(x.shape)

    def half_split_rope(x):
        return np.concatenate(turn(*np.split(x, 2, -1)), -1)

    np.testing.assert_allclose(
        scores(found, "model.layers.0.self_attn.{}_proj.weight", half_split_rope),
        scores(stored, "blk.0.attn_{}.weight", interleaved_rope),
        rtol=1e-10,
    )


def test_config_is_what_transformers_reads(checkpoint):
    config = AutoConfig.from_pretrained(checkpoint)
    assert (config.model_type, config.architectures) == ("llama", ["LlamaForCausalLM"])
    assert (config.hidden_size, config.intermediate_size, config.num_hidden_layers) == (EMBED, MLP, LAYERS)
    assert (config.num_attention_heads, config.num_key_value_heads, config.head_dim) == (HEADS, KV_HEADS, HEAD_DIM)
    assert (config.vocab_size, config.max_position_embeddings) == (len(TOKENS), 128)
    assert config.tie_word_embeddings

    written = json.loads((checkpoint / "config.json").read_text())
    assert (written["rope_theta"], written["rms_norm_eps"], written["torch_dtype"]) == (100000.0, 1e-5, "float32")
    ids = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2}
    assert written.items() >= ids.items()
    assert json.loads((checkpoint / "generation_config.json").read_text()) == ids


def test_an_output_matrix_of_its_own_is_not_tied(tmp_path):
    output = tiny().stored["token_embd.weight"] * 2
    convert(write_gguf(tmp_path / "tiny.gguf", tiny().stored | {"output.weight": output}), tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["tie_word_embeddings"] is False
    np.testing.assert_array_equal(load_file(tmp_path / "model.safetensors")["lm_head.weight"], output)


def test_tokenizer_splits_digits_merges_letters_and_knows_control_tokens(checkpoint):
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    assert tokenizer.tokenize("ab 12 ab") == ["ab", "Ġ", "1", "2", "Ġa", "b"]  # "12" is a token, but digits stay apart
    text = "<|im_start|>ab\n日本 é<|im_end|>"
    ids = tokenizer(text)["input_ids"]
    assert (ids[0], ids[-1]) == (1, 2)
    assert tokenizer.decode(ids) == text
    assert tokenizer.decode(ids, skip_special_tokens=True) == "ab\n日本 é"
    assert [tokenizer.unk_token, tokenizer.bos_token, tokenizer.eos_token] == CONTROL
    assert (tokenizer.pad_token, tokenizer.model_max_length) == ("<|im_end|>", 128)
    assert tokenizer.chat_template == TEMPLATE


def test_others_may_read_the_parameters_too(checkpoint):
    modes = {path.stat().st_mode for path in checkpoint.iterdir() if path.suffix != ".gguf"}
    assert len(modes) == 1


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"architecture": "qwen2"}, "general.architecture is 'qwen2' and not 'llama'"),
        ({"pre": "llama-bpe"}, "tokenizer is 'gpt2' with 'llama-bpe'; known is 'gpt2' with ['smollm']"),
        ({"extra": "rope_freqs.weight"}, "tensor rope_freqs.weight has no counterpart"),
        ({"extra": "blk.0.attn_q.bias"}, "tensor blk.0.attn_q.bias has no counterpart"),
        ({"extra": "blk.0.ffn_gate_inp.weight"}, "tensor blk.0.ffn_gate_inp.weight has no counterpart"),
        ({"without": "blk.1.attn_k.weight"}, "has no tensor for model.layers.1.self_attn.k_proj.weight"),
    ],
)
def test_what_is_not_known_is_refused(tmp_path, changes, sentence):
    stored = tiny().stored
    if extra := changes.pop("extra", None):
        stored[extra] = np.ones(EMBED, np.float32)
    stored.pop(changes.pop("without", None), None)
    with pytest.raises(UnknownModel) as caught:
        convert(write_gguf(tmp_path / "tiny.gguf", stored, **changes), tmp_path)
    assert sentence in str(caught.value)
    assert not (tmp_path / "model.safetensors").exists()
