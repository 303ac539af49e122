"""Reading a config.json: published ones, old and new keys, defaults, and what is refused."""

import json
import math

import jax
import pytest
from transformers import AutoConfig

from grpo_jax.config import ConfigError, ModelConfig, RopeConfig
from grpo_jax.config.architecture import FAMILIES
from grpo_jax.policy import Policy
from grpo_jax.policy.huggingface import describe, read_architecture
from grpo_jax.policy.huggingface.architecture import settled
from tests.policy.huggingface.configs import PUBLISHED, QWEN2_MATH_1_5B
from tests.policy.test_policy import VARIANTS, make

GEMMA3 = PUBLISHED["gemma-3-1b"][1]
LLAMA3 = PUBLISHED["Llama-3.2-1B"][1]
PHI4 = PUBLISHED["Phi-4-mini-instruct"][1]


def read(folder, values):
    (folder / "config.json").write_text(json.dumps(values))
    return read_architecture(folder)


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_models_have_as_many_parameters_as_stated(name, tmp_path):
    parameters, values = PUBLISHED[name]
    model = ModelConfig(compute_dtype="bfloat16", scan_layers=True)
    shapes = Policy(read(tmp_path, values), model).shapes()
    assert sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes)) == parameters


def test_what_the_families_differ_in(tmp_path):
    def published(name):
        return read(tmp_path, PUBLISHED[name][1])

    assert published("Llama-3.2-1B").rope == RopeConfig(500_000.0, "llama3", 32.0, 1.0, 4.0, 8192)
    assert published("SmolLM2-135M").head_dim == 64  # 576 / 9
    assert published("Mistral-7B-v0.1").layer_types == ("sliding",)
    qwen = published("Qwen2.5-Math-1.5B")
    assert (qwen.qkv_bias, qwen.qk_norm, qwen.layer_types) == (True, False, ("full",))
    gemma2, gemma3 = published("gemma-2-2b"), published("gemma-3-1b")
    assert (gemma2.attention_cap, gemma2.logit_cap, gemma2.query_scale) == (50.0, 30.0, 256**-0.5)
    assert (gemma2.layers[:2], gemma2.sliding_window, gemma2.tied_head) == (("sliding", "full"), 4096, True)
    assert [index for index, kind in enumerate(gemma3.layers) if kind == "full"] == [5, 11, 17, 23]
    assert (gemma3.rope.theta, gemma3.local_rope.theta, gemma3.sliding_window) == (1e6, 1e4, 512)
    assert (gemma3.attention_cap, gemma3.logit_cap, gemma3.qk_norm) == (0.0, 0.0, True)
    phi3, phi4 = published("Phi-3-mini-4k-instruct"), published("Phi-4-mini-instruct")
    assert (phi3.layer_types, phi3.sliding_window, phi3.rope) == (("sliding",), 2047, RopeConfig())
    assert (phi4.layer_types, phi4.sliding_window) == (("full",), 0)  # its window is longer than its longest context
    short = (1.0,) * 48
    assert phi4.rope == RopeConfig(1e4, "longrope", 32.0, original_length=4096, short_factors=short, share=0.75)


@pytest.mark.parametrize("model_type", FAMILIES)
def test_a_key_that_is_left_out_has_the_default_of_transformers(model_type, tmp_path):
    """Their own file names every key, in the new form; ours names none."""
    theirs = AutoConfig.for_model(model_type).to_dict()
    assert read(tmp_path, {"model_type": model_type}) == read(tmp_path, theirs)


@pytest.mark.parametrize("name", PUBLISHED)
def test_transformers_understands_published_files_alike(name, tmp_path):
    """Transformers rewrites an old file with new keys, and we read the same from it."""
    ours = read(tmp_path, PUBLISHED[name][1])
    rewritten = AutoConfig.from_pretrained(tmp_path).to_dict()
    assert "rope_parameters" in rewritten
    assert read(tmp_path, rewritten) == ours


def test_only_full_layers_of_gemma_3_are_stretched(tmp_path):
    """As its larger models are: `rope_scaling` is of the global rotation."""
    found = read(tmp_path, GEMMA3 | {"rope_scaling": {"factor": 8.0, "rope_type": "linear"}})
    assert (found.rope.scaling, found.rope.factor, found.rope.theta) == ("linear", 8.0, 1e6)
    assert (found.local_rope.scaling, found.local_rope.theta) == ("none", 1e4)
    assert read(tmp_path, AutoConfig.from_pretrained(tmp_path).to_dict()) == found


def test_upper_layers_of_qwen_slide_where_its_file_says_so(tmp_path):
    values = QWEN2_MATH_1_5B | {"use_sliding_window": True, "sliding_window": 7}
    found = read(tmp_path, values)
    assert found.layers == ("full",) * 21 + ("sliding",) * 7
    assert found.sliding_window == 7
    assert AutoConfig.from_pretrained(tmp_path).layer_types[20:22] == ["full_attention", "sliding_attention"]


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"model_type": "mamba"}, "model_type='mamba': is not supported; supported are llama, qwen2, qwen3, "),
        ({"model_type": "qwen2_moe"}, "model_type='qwen2_moe': is not supported"),
        ({}, "model_type=None: is not supported"),
        (LLAMA3 | {"attention_bias": True}, "attention_bias=True: is not supported; the only supported value is false"),
        (LLAMA3 | {"mlp_bias": True}, "mlp_bias=True: is not supported"),
        (LLAMA3 | {"hidden_act": "gelu"}, "hidden_act='gelu': is not supported; the only supported value is \"silu\""),
        (LLAMA3 | {"quantization_config": {"bits": 4}}, "quantization_config={'bits': 4}: is not supported"),
        (GEMMA3 | {"attn_logit_softcapping": 50.0}, "attn_logit_softcapping=50.0: is not supported"),
        (GEMMA3 | {"use_bidirectional_attention": True}, "use_bidirectional_attention=True: is not supported"),
        (
            QWEN2_MATH_1_5B | {"rope_scaling": {"type": "dynamic", "factor": 4.0}},
            "rope_type='dynamic': is not supported; supported are default, linear, llama3, yarn",
        ),
        (
            QWEN2_MATH_1_5B | {"rope_scaling": {"type": "yarn", "factor": 4.0, "mscale": 1.0}},
            "rope_parameters.mscale=1.0: is unknown here",
        ),
        (LLAMA3 | {"rope_scaling": {"rope_type": "llama3", "factor": 2}}, "low_freq_factor=None: must be a number"),
        (
            LLAMA3 | {"rope_parameters": {"partial_rotary_factor": 0.5}, "rope_scaling": None},
            "partial_rotary_factor=0.5",
        ),
        (PHI4 | {"partial_rotary_factor": 0.4}, "partial_rotary_factor=0.4: must rotate an even number of dimensions"),
        (PHI4 | {"partial_rotary_factor": 0.5}, "must have 32 numbers, one for each rotated pair"),
        (PHI4 | {"rope_scaling": {"type": "su", "short_factor": 1.0}}, "short_factor=1.0: must be a list of numbers"),
        (LLAMA3 | {"hidden_size": 0}, "hidden_size=0: must be a whole number above 0"),
        (LLAMA3 | {"hidden_size": "2048"}, "hidden_size='2048': must be a whole number above 0"),
        (LLAMA3 | {"rms_norm_eps": True}, "rms_norm_eps=True: must be a number above 0"),
        (LLAMA3 | {"num_key_value_heads": 5}, "num_key_value_heads=5: must divide the 32 query heads"),
        (LLAMA3 | {"head_dim": 63}, "head_dim=63: must be even"),
        (GEMMA3 | {"layer_types": ["full_attention"]}, "must name a type for each of the num_hidden_layers=26"),
        (GEMMA3 | {"layer_types": ["chunked_attention"] * 26}, "layer_types='chunked_attention': is not supported"),
        (GEMMA3 | {"sliding_window": None}, "sliding_window=None: layer_types has sliding_attention"),
        (GEMMA3 | {"sliding_window_pattern": 0}, "sliding_window_pattern=0: must be a whole number above 0"),
        (GEMMA3 | {"layer_types": 5}, "layer_types=5: must name a type for each"),
        (GEMMA3 | {"rope_parameters": {"rope_theta": 5e5}}, "must hold full_attention and sliding_attention"),
        (LLAMA3 | {"rope_scaling": ["llama3"]}, "rope_scaling=['llama3']: must be an object with keys, or null"),
        (LLAMA3 | {"tie_word_embeddings": "false"}, "tie_word_embeddings='false': must be true or false"),
        (QWEN2_MATH_1_5B | {"max_window_layers": "1"}, "max_window_layers='1': must be a whole number"),
        (QWEN2_MATH_1_5B | {"use_sliding_window": "no"}, "use_sliding_window='no': must be true or false"),
    ],
)
def test_what_is_refused(values, sentence, tmp_path):
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, values)
    assert str(caught.value).startswith(f"model.checkpoint={tmp_path}: config.json: ")
    assert sentence in str(caught.value)
    assert str(caught.value).count("\n") == 0


MISTRAL = PUBLISHED["Mistral-7B-v0.1"][1]
TYPES = ["full_attention", "sliding_attention"] * 16
OF_VERSION_4 = {  # what its to_dict adds, as some tools write it whole
    "return_dict": True,
    "output_hidden_states": False,
    "torchscript": False,
    "pruned_heads": {},
    "chunk_size_feed_forward": 0,
    "is_encoder_decoder": False,
    "is_decoder": False,
    "cross_attention_hidden_size": None,
    "add_cross_attention": False,
    "tie_encoder_decoder": False,
    "temperature": 1.0,
    "no_repeat_ngram_size": 0,
    "id2label": {"0": "LABEL_0", "1": "LABEL_1"},
    "suppress_tokens": None,
    "_name_or_path": "some/where",
    "transformers_version": "4.46.0",
    "_attn_implementation_autoset": True,
    "some_new_key": None,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_keys_that_change_nothing_are_not_refused(name, tmp_path):
    values = PUBLISHED[name][1]
    assert read(tmp_path, values | OF_VERSION_4) == read(tmp_path, values)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (MISTRAL | {"layer_types": TYPES}, "layer_types=['full_attention', "),
        (LLAMA3 | {"sliding_window": 4096}, "sliding_window=4096: is unknown here and may change what"),
        (LLAMA3 | {"no_rope_layers": [1, 0]}, "no_rope_layers=[1, 0]: is unknown here"),
        (LLAMA3 | {"attn_logit_softcapping": 30.0}, "attn_logit_softcapping=30.0: is unknown here"),
        (LLAMA3 | {"partial_rotary_factor": 0.5}, "partial_rotary_factor=0.5: is not supported"),
        (LLAMA3 | {"rope_interleaved": True}, "rope_interleaved=True: is not supported"),
        (
            LLAMA3 | {"attention_dropout": 0.1},
            "attention_dropout=0.1: is not supported; the only supported value is 0.0",
        ),
        (LLAMA3 | {"auto_map": {"AutoModel": "m.M"}}, "auto_map={'AutoModel': 'm.M'}: is not supported"),
        (LLAMA3 | {"architectures": ["LlamaForSequenceClassification"]}, "is not supported; LlamaForCausalLM is read"),
        (QWEN2_MATH_1_5B | {"use_mrope": True}, "use_mrope=True: is not supported"),
        (
            QWEN2_MATH_1_5B | {"rope_scaling": {"type": "default", "mrope_section": [16, 24, 24]}},
            "rope_parameters.mrope_section=[16, 24, 24]: is unknown here",
        ),
        (GEMMA3 | {"_sliding_window_pattern": 4}, "_sliding_window_pattern=4: is not read"),
    ],
)
def test_a_key_that_the_decoder_does_not_have_is_refused_by_name(values, sentence, tmp_path):
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, values)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_layers_of_ministral_are_those_that_it_names(tmp_path):
    values = MISTRAL | {"model_type": "ministral", "architectures": ["MinistralForCausalLM"]}
    assert read(tmp_path, values | {"layer_types": TYPES}).layer_types == ("full", "sliding")
    assert read(tmp_path, values).layer_types == ("sliding",)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (None, "has no config.json; name a directory in Hugging Face's format."),
        ("{", "config.json: cannot be read"),
        ("[1]", "config.json: is not a JSON object"),
    ],
)
def test_files_that_are_none(text, sentence, tmp_path):
    if text is not None:
        (tmp_path / "config.json").write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_architecture(tmp_path)
    assert sentence in str(caught.value)


@pytest.mark.parametrize("name", VARIANTS)
def test_a_policy_from_nothing_can_be_described(name, tmp_path):
    """Both by us and by transformers, whose reading of the description we read again."""
    if name == "multi_query":
        changes = VARIANTS[name] | {"qk_norm": False}  # no family has both q/k/v biases and q/k norms
    else:
        changes = VARIANTS[name] | ({"query_scale": 0.5} if "query_scale" in VARIANTS[name] else {})
    architecture = make(**changes).architecture
    described = describe(architecture, max_positions=99)
    expected = {"multi_head": "qwen3", "multi_query": "qwen2", "gemma3": "gemma3_text"}.get(name, name)
    assert described["model_type"] == expected
    assert settled(read(tmp_path, described)) == settled(architecture)
    assert settled(read(tmp_path, AutoConfig.from_pretrained(tmp_path).to_dict())) == settled(architecture)


def test_a_rotation_of_phi_can_be_described(tmp_path):
    rope = RopeConfig(share=0.75, scaling="longrope", factor=4.0, amplitude=1.5, short_factors=(1.0, 2.0, 4.0))
    architecture = make(rope=rope, qk_norm=False, embed_dim=32).architecture
    described = describe(architecture, max_positions=99)
    assert described["model_type"] == "phi3"
    assert settled(read(tmp_path, described)) == settled(architecture)
    assert settled(read(tmp_path, AutoConfig.from_pretrained(tmp_path).to_dict())) == settled(architecture)


def test_what_no_family_has_is_not_described():
    with pytest.raises(ConfigError, match="no family has this combination of features"):
        describe(make(qkv_bias=True, qk_norm=True).architecture, max_positions=99)
