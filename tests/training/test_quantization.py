"""Runs that sample from int8 weights: what samples, what is measured, and what a run may not do with it."""

import dataclasses

import jax
import numpy as np
import pytest

from grpo_jax.config import ConfigError, LoraConfig, check
from grpo_jax.data import Split
from grpo_jax.evaluation import evaluate
from grpo_jax.policy import is_quantised, trained_of
from grpo_jax.runs.directory import RunDirectory
from grpo_jax.sampling import JaxEngine, programs
from grpo_jax.training import build, evaluations, replay, restore, train_config
from grpo_jax.training.requests import check_engine, evaluation_request
from tests.helpers import make_config, metrics

ONE_DEVICE = jax.devices()[:1]
QUANTISED = {
    "rollout__quantization": "int8",
    "objective__old_logprobs": "trainer",
    "objective__importance_cap": 2.0,
}
FEW = {
    "train__steps": 4,
    "optimizer__warmup_updates": 1,
    "optimizer__learning_rate": 1e-2,  # so that policies are far apart
    "evaluation__every": 2,
    "checkpoint__every": 2,
    "checkpoint__keep_last": 3,
}


def configuration(lora=None, **changes):
    config = make_config(**FEW | QUANTISED | changes)
    return dataclasses.replace(config, model=dataclasses.replace(config.model, lora=lora))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run, and what its engine was asked: the version, whether it is quantised, and whether an evaluation asks."""
    asked, workdir, evaluating = [], tmp_path_factory.mktemp("run"), []
    sample = JaxEngine.sample

    def watched(engine, prompts, request):
        asked.append((engine._version, is_quantised(engine._weights), bool(evaluating)))
        return sample(engine, prompts, request)

    def evaluated(*arguments, **options):
        evaluating.append(True)
        found = evaluate(*arguments, **options)
        evaluating.clear()
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(JaxEngine, "sample", watched)
        patch.setattr(evaluations, "evaluate", evaluated)
        train_config(configuration(), workdir, devices=ONE_DEVICE)
    return workdir, asked


@pytest.mark.trap(47)
def test_quantised_weights_of_the_newest_version_sample_and_trained_ones_are_evaluated(run):
    workdir, asked = run
    assert [version for version, quantised, evaluation in asked if not evaluation] == [0, 1, 2, 3]
    assert {(quantised, evaluation) for _, quantised, evaluation in asked} == {(True, False), (False, True)}
    lines = [line for line in metrics(workdir) if line["kind"] == "train" and line["minibatches"]]
    assert lines
    for line in lines:
        assert 1e-4 < line["sampler_difference"] < 1  # the ratio is to the trainer, so it sees nothing of this
        assert 0.9 < line["sampler_sample_share"] < 1
        assert line["effective_sample_share"] == pytest.approx(1.0, abs=1e-6)
    experiment, restored = restore(workdir, ONE_DEVICE)
    assert {leaf.dtype for leaf in jax.tree.leaves(restored.params)} == {np.dtype("float32")}
    experiment.engine.load(experiment.programs.policy_weights(restored.params), version=4)
    problems = experiment.task.problems(Split.TEST, 8)
    again = evaluate(
        experiment.engine, experiment.task, problems, evaluation_request(experiment.config, Split.TEST), bootstrap=20
    )
    written = list(RunDirectory(workdir).evaluation("000004_test"))
    assert [[one.text for one in group.completions] for group in again.groups] == [
        [one.text for one in group.completions] for group in written
    ]


@pytest.mark.trap(47)
def test_a_completion_is_replayed_with_quantised_weights(run):
    workdir, _ = run
    for step in (1, 3):
        found = replay(workdir, step=step, prompt="2", sample=1, devices=ONE_DEVICE)
        assert found.equal
        assert found.largest_difference < 1e-5  # trained weights would differ by a hundred times that


def test_a_run_is_not_continued_with_other_weights(run):
    with pytest.raises(ConfigError, match=r"rollout\.quantization"):
        train_config(configuration(rollout__quantization="none"), run[0], devices=ONE_DEVICE)


@pytest.mark.trap(47)
def test_it_needs_the_trainers_log_probabilities_and_a_correction():
    config = configuration()
    for changes, sentence in (
        ({"old_logprobs": "sampler", "importance_cap": 0.0}, "quantised policy, not the trainer's; set objective.old_"),
        ({"importance_cap": 0.0}, "without a correction the gradient is biased; set objective.importance_cap to 1"),
    ):
        objective = dataclasses.replace(config.objective, **changes)
        with pytest.raises(ConfigError, match=rf"^rollout\.quantization='int8': .*{sentence}"):
            check(dataclasses.replace(config, objective=objective))
    engine = build(config, ONE_DEVICE).engine
    with pytest.raises(ConfigError, match="log-probabilities are not exactly the trainer's"):
        check_engine(make_config(), engine.capabilities)
    check_engine(make_config(), build(make_config(), ONE_DEVICE).engine.capabilities)


LORA = LoraConfig(rank=2, alpha=4.0, modules=("query", "down"))


@pytest.mark.parametrize("lora", [None, LORA], ids=["all", "adapters"])
def test_scales_lie_where_their_channels_lie(lora):
    """On eight devices the weights are those of one, and devices that only sample get them, too."""

    def weights(config, devices):
        made = build(config, devices)
        params = made.programs.adapt(made.programs.init_params(jax.random.key(0)))
        return made, params, made.programs.sampling_weights(params)

    _, params, expected = weights(configuration(lora), ONE_DEVICE)
    if lora:
        jax.tree.map(np.testing.assert_array_equal, trained_of(expected), trained_of(params))
    changes = {"mesh__data": 2, "mesh__fsdp": 2, "mesh__tensor": 2}
    _, _, cut = weights(configuration(lora, **changes), None)
    jax.tree.map(np.testing.assert_array_equal, cut, expected)
    mlp = cut["layers"]["0"]["mlp"]
    assert [mlp["up"][name].sharding.spec for name in ("kernel", "kernel_scale")] == [
        jax.P(None, "tensor"),
        jax.P("tensor"),
    ]
    assert [mlp["down"][name].sharding.spec for name in ("kernel", "kernel_scale")] == [
        jax.P("tensor", None),
        jax.P(None),
    ]
    shared = configuration(lora, mesh__rollout_share=0.5, rollout__delay=1)
    made, _, whole = weights(shared, jax.devices()[:2])
    for version in (whole, made.programs.policy_weights(made.programs.init_params(jax.random.key(0)))):
        made.engine.load(version, version=0)
        for leaf in jax.tree.leaves(made.engine._weights):
            assert leaf.devices() == {jax.devices()[1]}


def test_the_number_of_lanes_takes_the_bytes_of_the_weights_into_account(monkeypatch):
    def size(weights):
        return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(weights))

    given = []
    monkeypatch.setattr(programs, "automatic_lanes", lambda *_, compressed, **others: given.append(compressed) or 0)
    for config in (make_config(rollout__lanes=-1), configuration(LORA, rollout__lanes=-1)):
        made = build(config, ONE_DEVICE).programs
        assert made.sampling.lanes(8, 4, 2, 16) == 0
    params = jax.eval_shape(made.adapt, made.policy.shapes())
    sampled, evaluated = (jax.eval_shape(each, params) for each in (made.sampling_weights, made.evaluation_weights))
    assert given == [1.0, size(sampled) / size(evaluated)]
    assert given[1] < 0.5
