"""A policy out of a run, as a checkpoint in Hugging Face's format, and into the next run."""

import json

import jax
import numpy as np
import pytest

from grpo_jax.config import MeshConfig
from grpo_jax.data.pretrained import load_tokenizer, stop_tokens
from grpo_jax.policy import Policy
from grpo_jax.policy.huggingface import load_checkpoint, read_architecture
from grpo_jax.sharding import make_mesh, tree_named
from grpo_jax.training import restore, train
from grpo_jax.training.experiment import build
from launch import export
from tests.checkpoints import make_checkpoint as small_checkpoint
from tests.checkpoints import questions
from tests.data.tokenizer_files import write_tokenizer
from tests.helpers import make_config, start

ONE = jax.devices()[:1]
ROWS = np.array([[3, 1, 4, 1, 5, 9, 2, 6]], np.int32)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run on eight devices, 2 x 2 x 2."""
    workdir = tmp_path_factory.mktemp("run")
    train(make_config(mesh__data=2, mesh__fsdp=2, mesh__tensor=2, train__steps=4, optimizer__warmup_updates=1), workdir)
    return workdir


@pytest.fixture(scope="module")
def exported(run):
    directory = run.parent / "exported"
    process = start("launch/export.py", f"--workdir={run}", f"--to={directory}")  # on one device
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert out == f"{directory}: the policy of step 4, in float32\n"
    return directory


def logits(directory, data, fsdp, tensor, scan_layers):
    model = make_config(model__scan_layers=scan_layers).model
    mesh = make_mesh(MeshConfig(data, fsdp, tensor), jax.devices()[: data * fsdp * tensor])
    policy = Policy(read_architecture(directory), model)
    abstract = jax.eval_shape(policy.init, jax.random.key(0))
    params = load_checkpoint(directory, policy, tree_named(mesh, abstract, policy.logical_axes()))
    return np.asarray(jax.jit(policy.apply)(params, ROWS))


@pytest.mark.slow
@pytest.mark.trap(34)
def test_any_mesh_reads_what_eight_devices_have_trained(run, exported):
    experiment, restored = restore(run, ONE, MeshConfig(1, 1, 1))
    expected = np.asarray(jax.jit(experiment.policy.apply)(restored.params, ROWS))
    for mesh in ((1, 1, 1), (1, 4, 1), (2, 2, 2)):
        for scan_layers in (False, True):
            found = logits(exported, *mesh, scan_layers)
            np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.slow
def test_an_export_is_never_written_over(run, exported):
    before = sorted((path.name, path.stat().st_mtime_ns) for path in exported.iterdir())
    process = start("launch/export.py", f"--workdir={run}", f"--to={exported}", JAX_NUM_CPU_DEVICES="8")
    _, err = process.communicate()
    assert process.returncode == 2
    assert err == f"error: {exported}: already exists; name a directory that does not.\n"
    assert before == sorted((path.name, path.stat().st_mtime_ns) for path in exported.iterdir())


@pytest.mark.slow
def test_a_run_starts_from_a_checkpoint(tmp_path):
    """A policy of random weights that knows characters, and a file of questions with a chat template."""
    architecture = make_config(model__architecture__vocab_size=104).model.architecture
    checkpoint = make_checkpoint(tmp_path / "checkpoint", architecture)
    config = questions(checkpoint, train__steps=4, optimizer__warmup_updates=1, rollout__max_new_tokens=8)
    summary = train(config, tmp_path / "run", devices=ONE)
    assert summary["rollouts"] == 4 * 8 * 2
    assert not (tmp_path / "run" / "warm_start" / "params.safetensors").exists()
    assert json.loads((tmp_path / "run" / "config.json").read_text())["model"]["architecture"] is None


def make_checkpoint(directory, architecture):
    from grpo_jax.policy.huggingface import describe, save_checkpoint

    model = make_config().model
    policy = Policy(architecture, model)
    params = jax.jit(policy.init)(jax.random.key(5))
    save_checkpoint(directory, policy, params, describe(architecture, 256), "float32")
    return write_tokenizer(directory)


def test_the_tokenizer_that_a_run_names_is_exported(tmp_path):
    """With its chat template and its ends: the policy has learned them, and not those of its checkpoint."""
    named = write_tokenizer(tmp_path / "named")
    checkpoint = small_checkpoint(tmp_path / "checkpoint")
    (tmp_path / "source").mkdir()
    source = export._source(build(questions(checkpoint, named), ONE), tmp_path / "source")
    exported, original = load_tokenizer(source, ""), load_tokenizer(named, "")
    assert exported.get_vocab() == original.get_vocab()
    assert exported.chat_template == original.chat_template
    assert stop_tokens(source, exported) == stop_tokens(named, original)
    assert read_architecture(source) == read_architecture(checkpoint)
    assert export._source(build(questions(checkpoint), ONE), tmp_path) == checkpoint
