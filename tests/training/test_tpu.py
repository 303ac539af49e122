"""The programs of a run, compiled by the real TPU compiler for a slice that is not there: v5e, four chips of 16 GiB."""

import importlib.util
import os
import re

import jax
import pytest
from jax.experimental import topologies
from jax.experimental.compilation_cache import compilation_cache

from grpo_jax.config import load
from grpo_jax.training.experiment import abstract_inputs, build
from tests.helpers import CONFIGS

HBM = 16 * 2**30

# Llama-3.2-1B's shape on short prompts, cut over all four chips.
ONE_BILLION = {
    "task.operations": 12,
    "model.vocab_size": 128256,
    "model.embed_dim": 2048,
    "model.num_layers": 16,
    "model.num_heads": 32,
    "model.num_kv_heads": 8,
    "model.head_dim": 64,
    "model.mlp_dim": 8192,
    "model.compute_dtype": "bfloat16",
    "model.scan_layers": True,
    "model.remat": "full",
    "rollout.max_new_tokens": 1024,
    "train.logprob_chunk": 128,
    "mesh.fsdp": 4,
}


@pytest.fixture(scope="module")
def chips():
    if importlib.util.find_spec("libtpu") is None:
        reason = "libtpu, the TPU compiler, is not installed; it comes with pip install -e .[test] on Linux x86-64"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    return topologies.get_topology_desc(platform="tpu", topology_name="v5e:2x2").devices


@pytest.fixture(autouse=True)
def _compiled_anew():
    """What was compiled for chips that are not there cannot be loaded again from the cache of compilations."""
    jax.config.update("jax_enable_compilation_cache", False)
    compilation_cache.reset_cache()  # JAX decides once in a process whether there is a cache
    yield
    jax.config.update("jax_enable_compilation_cache", True)
    compilation_cache.reset_cache()


def compiled(chips, overrides):
    config = load(CONFIGS / "two_grpo.py", [(field, str(value)) for field, value in overrides.items()])
    experiment = build(config, chips)
    state, prompts, counter, batch = abstract_inputs(experiment)
    sample = experiment.sample.lower(state.params, prompts, counter).compile()
    return state, sample, experiment.update.lower(state, batch).compile()


def peak_bytes(program):
    memory = program.memory_analysis()
    arguments = memory.argument_size_in_bytes + memory.output_size_in_bytes - memory.alias_size_in_bytes
    return arguments + memory.temp_size_in_bytes + memory.generated_code_size_in_bytes


def bytes_of(tree):
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize("overrides", [{}, {"model.scan_layers": True, "mesh.fsdp": 2, "mesh.tensor": 2}])
def test_the_demo_compiles(chips, overrides):
    _, sample, update = compiled(chips, overrides)
    assert peak_bytes(sample) < HBM
    assert peak_bytes(update) < HBM


@pytest.mark.slow
def test_a_model_of_a_billion_parameters_compiles_and_fits(chips):
    state, sample, update = compiled(chips, ONE_BILLION)
    assert 1.1e9 < bytes_of(state.params) / 4 < 1.4e9
    assert peak_bytes(sample) < HBM
    assert peak_bytes(update) < HBM
    # The state is updated in place: what goes in comes out in the same memory.
    assert update.memory_analysis().alias_size_in_bytes > 0.99 * bytes_of(state) / 4
    # Weights are gathered where they are used, and activations stay where their rows are. An all-reduce of
    # [rows, tokens, features] would mean that the compiler cut the activations along their features instead.
    activations = re.findall(r"= \S*\[16,1072,\d{4,}\]\S* all-reduce(?:-start)?\(", update.as_text())
    assert activations == []
    assert "all-gather" in update.as_text()
