"""The programs of a run, compiled by the real TPU compiler for a slice that is not there: v5e, four chips of 16 GiB."""

import re

import jax
import pytest

from grpo_jax.config import MeshConfig, load
from grpo_jax.planning.plan import peak_bytes
from grpo_jax.sharding import make_mesh
from grpo_jax.training import batching
from grpo_jax.training.abstract_inputs import abstract_inputs
from grpo_jax.training.batching import buckets_of
from grpo_jax.training.experiment import build
from tests.helpers import CONFIGS

HBM = 16 * 2**30

# Llama-3.2-1B's shape on short prompts, cut over all four chips.
ONE_BILLION = {
    "task.operations": 6,
    "model.architecture.vocab_size": 128256,
    "model.architecture.embed_dim": 2048,
    "model.architecture.num_layers": 16,
    "model.architecture.num_heads": 32,
    "model.architecture.num_kv_heads": 8,
    "model.architecture.head_dim": 64,
    "model.architecture.mlp_dim": 8192,
    "model.compute_dtype": "bfloat16",
    "model.scan_layers": True,
    "model.remat": "full",
    "rollout.max_new_tokens": 128,
    "train.microbatch_groups": 4,
    "train.logprob_chunk": 32,
    "mesh.fsdp": 4,
}


def compiled(chips, overrides):
    config = load(CONFIGS / "two_grpo.py", [(field, str(value)) for field, value in overrides.items()])
    experiment = build(config, chips)
    inputs = abstract_inputs(experiment.programs, config, experiment.task.max_prompt_tokens)
    rollout = config.rollout
    sampler = experiment.programs.sampling.whole(rollout.sampling, rollout.group_size, rollout.noise)
    sample = sampler.lower(inputs.weights, inputs.prompts, inputs.counter).compile()
    return inputs, sample, experiment.programs.update.lower(inputs.state, inputs.batch).compile()


def bytes_of(tree):
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def test_the_mesh_follows_the_links_of_the_slice(chips):
    ring = [chip.coords for chip in make_mesh(MeshConfig(1, 4, 1), chips).devices.flatten()]
    following = [*ring[1:], ring[0]]
    hops = [sum(abs(a - b) for a, b in zip(*pair, strict=True)) for pair in zip(ring, following, strict=True)]
    assert hops == [1, 1, 1, 1]


SCANNED = {"model.scan_layers": True, "mesh.fsdp": 2, "mesh.tensor": 2}
INT8 = {"rollout.quantization": "int8", "objective.old_logprobs": "trainer", "objective.importance_cap": 2}


@pytest.mark.parametrize("overrides", [{}, SCANNED, SCANNED | INT8], ids=["plain", "scanned", "scanned_int8"])
def test_the_demo_compiles(chips, overrides, monkeypatch):
    if overrides == SCANNED:  # with prompts that begin alike
        monkeypatch.setattr("grpo_jax.training.experiment.prompt_prefix", lambda task: (1, 2, 3))
    _, sample, update = compiled(chips, overrides)
    assert peak_bytes(sample) < HBM
    assert peak_bytes(update) < HBM


@pytest.mark.slow
def test_a_model_of_a_billion_parameters_compiles_and_fits(chips, monkeypatch):
    monkeypatch.setattr(batching, "SHORTEST", ONE_BILLION["rollout.max_new_tokens"])  # each bucket takes as long
    inputs, sample, update = compiled(chips, ONE_BILLION)
    state, groups = inputs.state, inputs.batch.groups
    assert 1.1e9 < bytes_of(state.params) / 4 < 1.4e9
    assert peak_bytes(sample) < HBM
    assert peak_bytes(update) < HBM
    # The state is updated in place: what goes in comes out in the same memory.
    assert update.memory_analysis().alias_size_in_bytes > 0.99 * bytes_of(state) / 4
    # Weights are gathered where they are used, and activations stay where their rows are. An all-reduce of
    # [rows, tokens, features] would mean that the compiler cut the activations along their features instead.
    prompt = groups.prompt_tokens.shape[-1]
    tokens = "|".join(str(prompt + 2 * (bucket.completion - 1)) for bucket in buckets_of(groups))
    activations = re.findall(rf"= \S*\[\d+,(?:{tokens}),\d{{4,}}\]\S* all-reduce(?:-start)?\(", update.as_text())
    assert activations == []
    assert "all-gather" in update.as_text()
    # A chip has two rows, of which 32 positions have logits at once, and never all 128.
    logits = [int(a) * int(b) for a, b in re.findall(r"\[(\d+),(\d+),128256\]", update.as_text())]
    assert max(logits) == 2 * ONE_BILLION["train.logprob_chunk"]
