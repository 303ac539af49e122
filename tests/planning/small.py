"""Small versions of the paper's programs: scanned layers, chunked log-probabilities, fused attention over blocks."""

import dataclasses

from grpo_jax.config import load
from grpo_jax.config.schema import LoraConfig
from tests.helpers import CONFIGS

SMALL = {
    "model.architecture.vocab_size": 2048,
    "model.architecture.embed_dim": 256,
    "model.architecture.num_layers": 2,
    "model.architecture.num_heads": 2,
    "model.architecture.num_kv_heads": 1,
    "model.architecture.head_dim": 128,
    "model.architecture.mlp_dim": 1024,
    "model.compute_dtype": "bfloat16",
    "model.scan_layers": True,
    "model.remat": "full",
    "model.attention": "fused",
    "rollout.max_new_tokens": 60,  # one bucket: a program with several takes minutes to compile
    "train.microbatch_groups": 8,
    "train.logprob_chunk": 15,
    "mesh.fsdp": 4,
}


PROMPT = 68  # tokens


def config(**changes):
    """`changes` have `__` for the dots of a field's name."""
    changes = {field.replace("__", "."): value for field, value in changes.items()}
    return load(CONFIGS / "two_grpo.py", [(field, str(value)) for field, value in (SMALL | changes).items()])


def with_adapters(made):
    """Return the same configuration with adapters."""
    lora = LoraConfig(rank=4, alpha=8.0, modules=("query", "value", "down"))
    return dataclasses.replace(made, model=dataclasses.replace(made.model, lora=lora))
