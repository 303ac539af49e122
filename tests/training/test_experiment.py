"""What a configuration and the checkpoint that it names must agree on."""

import dataclasses

import pytest

from grpo_jax.config import ConfigError
from grpo_jax.policy.huggingface import read_architecture
from grpo_jax.training.experiment import architecture_of
from tests.checkpoints import make_checkpoint
from tests.helpers import make_config


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
