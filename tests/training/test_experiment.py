"""A configuration must agree with the checkpoint that it names."""

import copy
import dataclasses
import json
from pathlib import Path

import jax
import pytest

from grpo_jax.config import ConfigError, RopeConfig
from grpo_jax.data import Problem
from grpo_jax.evaluation import sample_and_judge
from grpo_jax.policy.huggingface import read_architecture
from grpo_jax.training import train
from grpo_jax.training.experiment import architecture_of, build
from grpo_jax.training.requests import training_request
from tests.checkpoints import make_checkpoint, questions
from tests.helpers import make_config

ONE = jax.devices()[:1]


@pytest.fixture
def config(tmp_path):
    """Names a checkpoint, and the architecture that its config.json describes."""
    checkpoint = make_checkpoint(tmp_path / "checkpoint")
    config = make_config()
    model = dataclasses.replace(config.model, checkpoint=str(checkpoint), architecture=read_architecture(checkpoint))
    return dataclasses.replace(config, model=model, warm_start=None)


def changed(config, **fields):
    architecture = dataclasses.replace(config.model.architecture, **fields)
    return dataclasses.replace(config, model=dataclasses.replace(config.model, architecture=architecture))


def test_what_nothing_reads_may_differ(config):
    """RoPE without scaling has no original length, and layers that are all full have no window."""
    rope = config.model.architecture.rope
    other = changed(config, rope=dataclasses.replace(rope, original_length=4096, factor=2.0), sliding_window=7)
    assert architecture_of(other) == architecture_of(config) == config.model.architecture


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({"norm_epsilon": 1e-5}, "norm_epsilon"),
        ({"tied_head": False, "activation": "gelu_tanh"}, "activation, tied_head"),
        ({"vocab_size": 300}, "vocab_size"),
    ],
)
def test_another_architecture_is_refused(config, fields, names):
    with pytest.raises(ConfigError, match=f"differs from model.architecture in {names}; set"):
        architecture_of(changed(config, **fields))
    rope = dataclasses.replace(config.model.architecture.rope, theta=5e5)
    with pytest.raises(ConfigError, match="in rope;"):
        architecture_of(changed(config, rope=rope))


def test_rows_longer_than_the_short_factors_of_longrope(config):
    """They would change the rotation of all their tokens, also of those before."""
    rope = RopeConfig(scaling="longrope", original_length=4, short_factors=(1.0,) * 4)
    longrope = changed(dataclasses.replace(config, model=dataclasses.replace(config.model, checkpoint="")), rope=rope)
    with pytest.raises(ConfigError, match="differently once it has more than 4; lower"):
        build(longrope, ONE)


def test_rows_longer_than_the_model_is_for_are_told(config, caplog):
    positions = json.loads((Path(config.model.checkpoint) / "config.json").read_text())["max_position_embeddings"]
    prompt = build(config, ONE).task.max_prompt_tokens
    assert "max_position_embeddings" not in caplog.text
    rollout = dataclasses.replace(config.rollout, max_new_tokens=positions)
    build(dataclasses.replace(config, rollout=rollout), ONE)
    assert f"may have {positions + prompt}, and the model is for {positions} (max_position_emb" in caplog.text


def with_token(checkpoint, token, place):
    """Adds a token to a checkpoint's tokenizer, at an id."""
    path = checkpoint / "tokenizer.json"
    values = json.loads(path.read_text())
    values["added_tokens"].append(
        {"id": place, "content": token, "special": True}
        | dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    )
    values["model"]["vocab"][token] = place
    path.write_text(json.dumps(values))


def test_a_tokenizer_may_have_a_token_that_the_checkpoint_does_not(tmp_path):
    """Gemma 3's has one for images, which the smaller models have no embedding of. It is an error if it is used."""
    checkpoint = make_checkpoint(tmp_path / "checkpoint")
    rows = read_architecture(checkpoint).vocab_size
    with_token(checkpoint, "<image>", rows)
    config = questions(checkpoint)
    experiment = build(config, ONE)
    assert experiment.programs.policy.tokens == experiment.programs.policy.vocab_size == rows
    problems, request = [Problem("1 + <image>", "1")], training_request(config, step=1)
    with pytest.raises(
        ConfigError, match=f"has the token {rows}, but the policy has only {rows} embeddings; remove it"
    ):
        sample_and_judge(experiment.engine, experiment.task, problems, request)
    (checkpoint / "generation_config.json").write_text(json.dumps({"eos_token_id": rows}))
    with pytest.raises(ConfigError, match=f"has embeddings for {rows} tokens, and the stop token {rows} is not among"):
        build(config, ONE)


@pytest.mark.trap(45)
def test_another_task_does_not_get_the_prefix_of_the_one_that_was_built(tmp_path):
    experiment = build(questions(make_checkpoint(tmp_path / "checkpoint")), ONE)
    assert experiment.programs.policy.prompt_prefix == experiment.task.prompt_prefix != ()
    other = copy.copy(experiment.task)
    other.prompt_prefix = ()
    with pytest.raises(
        ConfigError, match=r"is not the one that the experiment was built for, .* set task\.share_prefix"
    ):
        train(dataclasses.replace(experiment, task=other), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_ids_may_have_holes(tmp_path):
    """A token behind a hole is a token: it can be predicted."""
    checkpoint = make_checkpoint(tmp_path / "checkpoint")
    with_token(checkpoint, "<end>", 300)
    values = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps(values | {"vocab_size": 320}))
    (checkpoint / "generation_config.json").write_text(json.dumps({"eos_token_id": 300}))
    assert build(questions(checkpoint), ONE).programs.policy.tokens == 301
