"""Export of a run's policy as a checkpoint in Hugging Face's format, which the next run reads."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from grpo_jax.commands import export
from grpo_jax.config import ConfigError, MeshConfig, to_dict
from grpo_jax.data.pretrained import load_tokenizer, stop_tokens, transformers_differs
from grpo_jax.data.tokenizer import encode
from grpo_jax.policy import Policy
from grpo_jax.policy.huggingface import load_checkpoint, read_architecture
from grpo_jax.runs.suite_scores import EvaluatedPolicy, SuiteReport
from grpo_jax.sharding import make_mesh, tree_named
from grpo_jax.training import restore, train_config
from grpo_jax.training.experiment import build
from tests.checkpoints import make_checkpoint as small_checkpoint
from tests.checkpoints import questions
from tests.data.tokenizer_files import write_tokenizer
from tests.helpers import ROOT, assert_one_sentence, make_config, start

ONE = jax.devices()[:1]
ROWS = np.array([[3, 1, 4, 1, 5, 9, 2, 6]], np.int32)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run on eight devices, 2 x 2 x 2."""
    workdir = tmp_path_factory.mktemp("run")
    train_config(
        make_config(mesh__data=2, mesh__fsdp=2, mesh__tensor=2, train__steps=4, optimizer__warmup_updates=1), workdir
    )
    return workdir


@pytest.fixture(scope="module")
def exported(run):
    directory = run.parent / "exported"
    process = start("launch/export.py", f"--workdir={run}", f"--to={directory}")  # on one device
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert out == f"loading JAX ...\n{directory}: the policy of step 4, in float32\n"
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
    expected = np.asarray(jax.jit(experiment.programs.policy.apply)(restored.params, ROWS))
    for mesh, scan_layers in (((1, 1, 1), False), ((1, 4, 1), True), ((2, 2, 2), False)):
        np.testing.assert_allclose(logits(exported, *mesh, scan_layers), expected, atol=1e-5)


@pytest.mark.slow
def test_an_export_is_never_written_over(run, exported):
    before = sorted((path.name, path.stat().st_mtime_ns) for path in exported.iterdir())
    process = start("launch/export.py", f"--workdir={run}", f"--to={exported}", JAX_NUM_CPU_DEVICES="8")
    _, err = process.communicate()
    assert process.returncode == 2
    assert err == f"error: --to={exported}: already exists; name a directory that does not.\n"
    assert before == sorted((path.name, path.stat().st_mtime_ns) for path in exported.iterdir())


@pytest.mark.slow
def test_a_run_starts_from_a_checkpoint(tmp_path):
    """Write a random policy over characters, a file of questions, and a chat template."""
    architecture = make_config(model__architecture__vocab_size=104).model.architecture
    checkpoint = make_checkpoint(tmp_path / "checkpoint", architecture)
    config = questions(checkpoint, train__steps=4, optimizer__warmup_updates=1, rollout__max_new_tokens=8)
    summary = train_config(config, tmp_path / "run", devices=ONE)
    assert summary.rollouts == 4 * 8 * 2
    assert not (tmp_path / "run" / "warm_start" / "params.safetensors").exists()
    assert json.loads((tmp_path / "run" / "config.json").read_text())["model"]["architecture"] is None


def make_checkpoint(directory, architecture):
    from grpo_jax.policy.huggingface import describe, save_checkpoint

    model = make_config().model
    policy = Policy(architecture, model)
    params = policy.init(jax.random.key(5))
    save_checkpoint(directory, policy, params, describe(architecture, 256), "float32")
    return write_tokenizer(directory)


def test_the_tokenizer_that_a_run_names_is_exported(tmp_path):
    """So are its chat template and stop tokens: the policy has learned them, not those of its checkpoint."""
    named = write_tokenizer(tmp_path / "named")
    checkpoint = small_checkpoint(tmp_path / "checkpoint")
    (tmp_path / "source").mkdir()
    source = export._source(build(questions(checkpoint, named), ONE), tmp_path / "source")
    exported, original = load_tokenizer(source, ""), load_tokenizer(named, "")
    assert exported.get_vocab() == original.get_vocab()
    assert exported.chat_template == original.chat_template
    assert stop_tokens(source, exported) == stop_tokens(named, original)
    assert read_architecture(source) == read_architecture(checkpoint)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        assert (source / file).read_bytes() == (named / file).read_bytes()
    assert export._source(build(questions(checkpoint), ONE), tmp_path) == checkpoint
    # transformers stops at what generation_config.json names, and the tokenizer's own end is one more.
    (checkpoint / "generation_config.json").write_text(json.dumps({"eos_token_id": 0, "top_k": 7}))
    (tmp_path / "whole").mkdir()
    source = export._source(build(questions(checkpoint), ONE), tmp_path / "whole")
    assert json.loads((source / "generation_config.json").read_text()) == {"eos_token_id": [0, 2], "top_k": 7}
    assert (source / "tokenizer.json").read_bytes() == (checkpoint / "tokenizer.json").read_bytes()


def test_a_policy_from_nothing_knows_its_ends(tmp_path):
    """The files have the keys, ids and classes of transformers 4 and 5."""
    experiment = build(make_config(), ONE)
    source = export._source(experiment, tmp_path)
    config, generation, tokenizer = (
        json.loads((source / name).read_text())
        for name in ("config.json", "generation_config.json", "tokenizer_config.json")
    )
    (end,) = experiment.task.stop_tokens
    for values in (config, generation):
        assert (values["eos_token_id"], values["pad_token_id"], values["bos_token_id"]) == (end, end, None)
    assert generation["max_new_tokens"] == experiment.config.rollout.max_new_tokens
    assert config["max_position_embeddings"] >= 2048  # rotary positions have no end
    assert config["rope_theta"] == experiment.programs.policy.architecture.rope.theta
    assert tokenizer["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert transformers_differs(source) is None
    exported = load_tokenizer(source, "").backend_tokenizer
    assert encode(exported, ["(1+2)="]) == encode(experiment.task.tokenizer, ["(1+2)="])


def test_a_policy_is_restored_without_the_code_that_judged_it(tmp_path):
    """An export imports neither the user's reward nor the user's objective."""
    config = questions(small_checkpoint(tmp_path / "checkpoint"), objective__name="gone.module:OBJECTIVE")
    reward = dataclasses.replace(config.task.reward, terms={"gone.module:reward": 1.0})
    config = dataclasses.replace(config, task=dataclasses.replace(config.task, reward=reward))
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.json").write_text(json.dumps(to_dict(config)))
    experiment, restored = restore(run, ONE, step=0, policy_only=True)
    assert restored.step == 0
    assert experiment.config == config
    with pytest.raises(ConfigError, match=r"gone.module:reward.*cannot be imported"):
        _ = experiment.task.reward
    with pytest.raises(ConfigError, match=r"cannot be imported"):
        restore(run, ONE, step=0)


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--public"], "--public: nothing is uploaded; name a repository with --push."),
        (["--push="], "--push=: is not the name of a repository; write owner/name"),
        (["--license=Apache 2.0"], "--license=Apache 2.0: is not the name of a license; take one of "),
        (["--base-model=SmolLM2"], "--base-model=SmolLM2: is not the name of a repository; write owner/name, "),
        (["--push=SmolLM2"], "--push=SmolLM2: is not the name of a repository; write owner/name, "),
        (["--evaluation=docs"], "--evaluation=docs: has no suites.json; name the --workdir of `grpo evaluate`."),
    ],
)
def test_mistakes_about_sharing_are_reported_before_anything_is_read(flags, sentence, tmp_path, capsys):
    run = ROOT / "tests" / "fixtures" / "run"
    assert export.main([f"--workdir={run}", f"--to={tmp_path / 'exported'}", *flags]) == 2
    assert_one_sentence(capsys, f"error: {sentence}")
    assert list(tmp_path.iterdir()) == []


def test_the_scores_of_another_policy_are_refused(tmp_path):
    arguments = export.make_parser().parse_args([f"--workdir={tmp_path}", "--to=x", "--evaluation=y"])
    report = SuiteReport(EvaluatedPolicy(run=str(tmp_path), step=4), "0" * 16)
    export._check_evaluated(arguments, report, 4)
    with pytest.raises(ConfigError, match=rf"--evaluation=y: is of {tmp_path}, step 4, not of {tmp_path}, step 2; "):
        export._check_evaluated(arguments, report, 2)
