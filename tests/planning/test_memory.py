"""The memory of a chip while a program runs. Nothing is compiled; the programs' own peak is given."""

import jax
import pytest

from grpo_jax.planning.memory import sample_memory, score_memory, tree_bytes, update_memory
from grpo_jax.policy import Policy, trained_of
from grpo_jax.sharding import make_mesh
from grpo_jax.training.abstract_inputs import abstract_inputs
from grpo_jax.training.programs import make_programs
from tests.planning.small import PROMPT, config, with_adapters

OWN = 2**30
PARAMETERS = 2048 * 256 + 2 * (256 * 128 * 2 * (2 + 1) + 3 * 256 * 1024)  # the norms', a thousand, left out
CHIPS = 4


def memories(made):
    """Return the memory during an update, scoring and sampling, and the shapes of the programs' inputs."""
    mesh = make_mesh(made.mesh, jax.devices()[:CHIPS])
    policy = Policy(made.model.architecture, made.model, mesh)
    inputs = abstract_inputs(make_programs(made, mesh, policy, stop_tokens=(0,)), made, PROMPT)
    sampling = sample_memory(OWN, inputs, made, made.model.architecture, lanes=0)
    return update_memory(OWN, inputs, made), score_memory(OWN, inputs, made), sampling, inputs


def test_all_parameters_are_trained():
    update, score, sample, _ = memories(config())
    trained = pytest.approx(4 * PARAMETERS / CHIPS, rel=0.01)
    assert (update.params, update.optimizer, update.waiting) == (trained, pytest.approx(2 * update.params, abs=99), 0)
    # Sampled from is a copy in bfloat16, whole on each chip.
    assert (score.params, score.waiting) == (trained, pytest.approx(update.optimizer, abs=99))
    assert sample.params == pytest.approx(2 * PARAMETERS, rel=0.01)
    assert sample.waiting == pytest.approx(3 * update.params, abs=99)


def test_a_quantised_sampler_holds_a_byte_for_each_weight_of_a_kernel():
    *_, plain, _ = memories(config())
    corrected = {"objective__old_logprobs": "trainer", "objective__importance_cap": 2.0}
    *_, sample, _ = memories(config(rollout__quantization="int8", **corrected))
    embedding = 2048 * 256
    assert sample.params == pytest.approx(2 * embedding + (PARAMETERS - embedding), rel=0.02)
    assert sample.peak == plain.peak
    *_, adapted, _ = memories(with_adapters(config(rollout__quantization="int8", **corrected)))
    assert adapted.params == pytest.approx(sample.params, rel=0.05)


def test_frozen_weights_are_parameters_and_wait_while_sampling():
    update, score, sample, inputs = memories(with_adapters(config()))
    frozen = pytest.approx(2 * PARAMETERS / CHIPS, rel=0.01)
    adapters = tree_bytes(trained_of(inputs.state.params))
    assert 0 < adapters < 0.1 * update.params
    assert update.params - adapters == frozen
    assert score.params == update.params
    assert update.optimizer == pytest.approx(2 * adapters, abs=99)
    assert sample.waiting == update.params + update.optimizer + 8  # and two counters


@pytest.mark.parametrize("change", [lambda made: made, with_adapters])
def test_a_reference_policy_lies_there_during_every_program(change):
    *without, _ = memories(change(config()))
    *held, inputs = memories(change(config(objective__kl_coef=0.1)))
    for before, after in zip(without, held, strict=True):
        assert after.waiting - before.waiting == tree_bytes(trained_of(inputs.state.params))
        assert after.peak - before.peak == tree_bytes(trained_of(inputs.state.params))
        assert after.activations == before.activations


@pytest.mark.parametrize("change", [lambda made: made, with_adapters])
def test_the_parts_are_the_whole(change):
    for memory in memories(change(config(objective__kl_coef=0.1)))[:3]:
        parts = (memory.params, memory.optimizer, memory.waiting, memory.cache, memory.activations)
        assert sum(parts) == memory.peak == OWN + memory.waiting
