"""A pretrained model in small: random weights, but everything that a downloaded one has, in Hugging Face's format."""

import json
from pathlib import Path

import jax
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from grpo_jax.config import Config, from_dict, load, to_dict
from grpo_jax.config.smoke import TIES
from grpo_jax.policy import Policy
from grpo_jax.policy.huggingface import describe, save_checkpoint
from tests.helpers import CONFIGS, make_config

# SmolLM2's: a system message of its own, unless the conversation begins with one.
CHAT_TEMPLATE = (
    "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nYou are a helper.<|im_end|>\n{% endif %}"
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
MAX_POSITIONS = 512


def make_checkpoint(directory: Path, *, seed: int = 0, embed_dim: int = 16, num_layers: int = 2) -> Path:
    """A Llama-shaped random policy, its tokenizer with a chat template, and two stop tokens. Returns the directory.

    Args:
      directory: to be made; there must be nothing in its place.
      seed: of the weights.
    """
    tokenizer = byte_tokenizer()
    shape = {"vocab_size": len(tokenizer), "embed_dim": embed_dim, "num_layers": num_layers, "mlp_dim": 2 * embed_dim}
    shape |= {"num_heads": 2, "num_kv_heads": 1, "head_dim": 8, "qk_norm": False}
    model = make_config(**{f"model__architecture__{field}": value for field, value in shape.items()}).model
    assert model.architecture is not None
    policy = Policy(model.architecture, model)
    params = policy.init(jax.random.key(seed))
    save_checkpoint(directory, policy, params, describe(policy.architecture, MAX_POSITIONS), "float32")
    tokenizer.save_pretrained(str(directory))
    ends = tokenizer.convert_tokens_to_ids(["<|im_end|>", "<|endoftext|>"])
    (directory / "generation_config.json").write_text(json.dumps({"eos_token_id": ends}))
    return directory


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """A fast tokenizer whose tokens are bytes, so that it can write every text, and three special tokens."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate([*SPECIAL, *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|im_end|>",
        additional_special_tokens=list(SPECIAL),
        chat_template=CHAT_TEMPLATE,
    )


def questions(checkpoint: Path, tokenizer: Path | str = "", **changes: object) -> Config:
    """The tiny configuration on a checkpoint, asking one-digit arithmetic."""
    values = to_dict(make_config(**changes))
    given = to_dict(load(CONFIGS / "smollm2_135m.py"))
    values["task"] = given["task"] | {"template": "{question}", "max_prompt_tokens": 128, "tokenizer": str(tokenizer)}
    values["task"]["train"]["path"] = "2 terms of +-"
    terms = {"numeric": 1.0, TIES: 1e-3}  # a random policy is hardly ever right
    values["task"]["reward"] = given["task"]["reward"] | {"terms": terms, "answer_pattern": r"(\d)"}
    values["model"] |= {"checkpoint": str(checkpoint), "architecture": None}
    values["warm_start"] = None
    return from_dict(values)
