"""Our decoder against transformers': logits, greedy completions, and what we export."""

import shutil
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from jax.sharding import SingleDeviceSharding
from transformers import AutoModelForCausalLM

from grpo_jax.config import ModelConfig, SamplingConfig
from grpo_jax.policy import Policy
from grpo_jax.policy.huggingface import load_checkpoint, read_architecture, save_checkpoint
from grpo_jax.sampling import Counter, Sampler, Stream
from grpo_jax.types import PromptBatch
from tests.parity.models import MODELS, VOCABULARY, saved, with_images, with_old_keys
from tests.policy.huggingface.checkpoints import policy_of

TOLERANCE = 1e-4
LENGTHS = (23, 9, 16)  # all longer than the windows
GREEDY = SamplingConfig(temperature=0.0, top_k=0, top_p=1.0, min_p=0.0)


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


def load(directory, scan_layers=False):
    policy = policy_of(directory, scan_layers)
    return policy, load_checkpoint(directory, policy, SingleDeviceSharding(jax.devices()[0]))


def rows():
    generator = np.random.default_rng(0)
    return [generator.integers(1, VOCABULARY, length) for length in LENGTHS]


def right_padded():
    return jnp.asarray([np.pad(row, (0, max(LENGTHS) - len(row))) for row in rows()], jnp.int32)


def left_padded():
    wide = max(LENGTHS)
    tokens = np.array([np.pad(row, (wide - len(row), 0)) for row in rows()])
    mask = np.array([[0] * (wide - len(row)) + [1] * len(row) for row in rows()])
    return {"input_ids": torch.tensor(tokens), "attention_mask": torch.tensor(mask)}


def theirs(model, padded):
    """Logits of each row's own positions."""
    with torch.no_grad():
        if padded:
            batch = left_padded()
            positions = (batch["attention_mask"].cumsum(-1) - 1).clamp(min=0)
            logits = model(**batch, position_ids=positions).logits.float().numpy()
            return [row[-length:] for row, length in zip(logits, LENGTHS, strict=True)]
        return [model(torch.tensor(row[None])).logits[0].float().numpy() for row in rows()]


@partial(jax.jit, static_argnums=0)
def apply(policy, params, tokens):
    return policy.apply(params, tokens)


def assert_same(ours, model, padded=False):
    for row, expected in zip(np.asarray(ours), theirs(model, padded), strict=True):
        assert expected.std() > 0.3  # logits that say something
        np.testing.assert_allclose(row[: len(expected)], expected, atol=TOLERANCE)


@pytest.mark.trap(31)
@pytest.mark.parametrize("name", MODELS)
def test_logits(name, folder):
    model, directory = saved(name, folder)
    policy, params = load(directory)
    logits = apply(policy, params, right_padded())
    assert_same(logits, model)
    assert_same(logits, model, padded=True)
    assert_same(apply(*load(directory, scan_layers=True), right_padded()), model)


def test_the_text_part_of_a_model_with_images(tmp_path):
    made = with_images()
    made.save_pretrained(tmp_path / "model")
    policy, params = load(tmp_path / "model")
    assert_same(apply(policy, params, right_padded()), made)
    save_checkpoint(tmp_path / "export", policy, params, tmp_path / "model", "float32")
    alone = AutoModelForCausalLM.from_pretrained(tmp_path / "export", attn_implementation="eager").eval()
    assert type(alone).__name__ == "Gemma3ForCausalLM"
    for one, other in zip(theirs(made, False), theirs(alone, False), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.parametrize(
    "name",
    [
        "llama3_tied",
        "qwen2_sliding",
        "qwen3_yarn",
        "mistral",
        "granite",
        "olmo2",
        "phi3",
        "phi4_mini",
        "gemma2",
        "gemma3",
    ],
)
def test_old_keys_say_the_same(name, folder, tmp_path):
    _, directory = saved(name, folder)
    shutil.copytree(directory, tmp_path / "old")
    with_old_keys(tmp_path / "old")
    assert read_architecture(tmp_path / "old") == read_architecture(directory)


@pytest.mark.parametrize("scan_layers", [False, True])
@pytest.mark.parametrize(
    "name",
    [
        *("llama3_tied", "qwen2", "qwen3_yarn", "qwen3_moe", "mistral", "granite", "olmo2", "phi3", "phi4_mini"),
        *("gemma2", "gemma3"),
    ],
)
def test_greedy_completions(name, scan_layers, folder):
    """Token for token, from prompts shorter and longer than the windows, past which the completions run."""
    model, directory = saved(name, folder)
    policy, params = load(directory, scan_layers)
    room = 14
    sampler = jax.jit(Sampler(policy, GREEDY, group_size=2, max_new_tokens=room, stop_tokens=()).sample)
    lengths = np.array([23, 9, 3], np.int32)
    tokens = np.array(right_padded())
    prompts = PromptBatch(np.arange(3, dtype=np.uint32), tokens, lengths)
    seen: set[int] = set()
    rollouts = sampler(params, prompts, Counter.of(0, Stream.TRAINING, 0))
    for row in range(3):
        prompt = torch.tensor(tokens[row : row + 1, : lengths[row]].astype(np.int64))
        expected = model.generate(
            prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=room, do_sample=False, use_cache=True
        )[0, lengths[row] :]
        seen |= set(expected.tolist())
        for completion in rollouts.completion_tokens[row]:
            np.testing.assert_array_equal(completion, expected.numpy())
    assert len(seen) > 6  # completions that repeat few tokens would prove little


@pytest.mark.parametrize("scan_layers", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_transformers_loads_what_we_export(name, scan_layers, folder, tmp_path):
    model, directory = saved(name, folder)
    policy, params = load(directory, scan_layers)
    save_checkpoint(tmp_path / "export", policy, params, directory, "float32", shard_bytes=20_000)
    assert (tmp_path / "export" / "model.safetensors.index.json").is_file()
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "export", attn_implementation="eager").eval()
    for (key, one), (_, other) in zip(model.state_dict().items(), again.state_dict().items(), strict=True):
        assert torch.equal(one, other), key
    for one, other in zip(theirs(model, False), theirs(again, False), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", ["qwen2", "gemma3"])
def test_bfloat16_is_as_near_as_theirs(name, folder):
    """In bfloat16 neither is exact; ours is no further from the float32 logits than twice theirs."""
    model, directory = saved(name, folder)
    policy, params = load(directory)
    half = Policy(policy.architecture, ModelConfig(str(directory), compute_dtype="bfloat16"))
    exact = theirs(model, False)
    rounded = theirs(AutoModelForCausalLM.from_pretrained(directory, dtype=torch.bfloat16).eval(), False)
    ours = np.asarray(apply(half, params, right_padded()))
    error = np.mean([np.abs(row[: len(e)] - e).mean() for row, e in zip(ours, exact, strict=True)])
    their_error = np.mean([np.abs(row - e).mean() for row, e in zip(rounded, exact, strict=True)])
    assert error < 2 * their_error
