"""Sampling ahead: an older policy has sampled what a step learns from, and a run goes on with its batches in flight."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from grpo_jax.config import ConfigError, MeshConfig
from grpo_jax.data import PromptSource, Split
from grpo_jax.evaluation import sample_and_judge
from grpo_jax.policy import load_params
from grpo_jax.processes import put
from grpo_jax.rewards import Verdict
from grpo_jax.runs.directory import RunDirectory
from grpo_jax.runs.fork import fork
from grpo_jax.sampling import JaxEngine
from grpo_jax.sharding import make_meshes
from grpo_jax.training import Origin, build, loop, replay, train, train_config
from grpo_jax.training.batching import make_minibatches
from grpo_jax.training.collect import BatchQueue
from grpo_jax.training.in_flight import InFlight
from grpo_jax.training.programs import update_batch_shardings
from grpo_jax.training.requests import training_request
from tests.helpers import make_config, metrics
from tests.training.test_loop import ONE_DEVICE, Crash, Disturbed, crash, final_state
from tests.training.test_statistics import collected_of

FEW = {"train__steps": 4, "rollout__delay": 1, "optimizer__warmup_updates": 1, "evaluation__test_problems": 2}
FEW |= {"evaluation__every": 0, "checkpoint__keep_best": 0, "checkpoint__every": 2}


def configuration(**changes):
    return make_config(**FEW | changes)


@pytest.fixture(scope="module")
def delayed(tmp_path_factory):
    """A run of four steps, each of which learns from samples of the policy before the newest."""
    workdir = tmp_path_factory.mktemp("delayed")
    train_config(configuration(), workdir, None, ONE_DEVICE)
    return workdir


def by_hand(config, base, steps):
    """Return the state after some steps of plain 2-GRPO, and the tokens of each step, from policies one step older."""
    made = build(config, ONE_DEVICE)
    programs, source = made.programs, PromptSource(made.task.problems(Split.TRAIN), config.seed)
    state, tokens, cursor = programs.init_state(base), [], 0
    policies = [programs.sampling_weights(state.params)]
    for step in range(1, steps + 1):
        cursor = source.start_of_step(cursor, config.rollout.prompts_per_step)
        made.engine.load(policies[max(step - 2, 0)], version=0)
        problems = source.take(cursor, config.rollout.prompts_per_step)
        found = sample_and_judge(made.engine, made.task, problems, training_request(config, step))
        rewards = np.array([[one.reward for one in group.completions] for group in found.groups], np.float32)
        advantages = rewards - rewards[:, ::-1]
        batches = make_minibatches(
            found.rollouts,
            advantages,
            keep=advantages.any(axis=1),
            minibatches=1,
            microbatch_groups=config.train.microbatch_groups,
            aggregation=programs.objective.aggregation,
            denominator="sampled",
        )
        for batch in batches:
            state, _ = programs.update(state, put(batch, update_batch_shardings(batch, programs.shardings)))
        policies.append(programs.sampling_weights(state.params))
        tokens.append(found.rollouts.completion_tokens)
        cursor += len(problems)
    return jax.device_get(state), tokens


def test_a_step_learns_from_what_the_policy_before_the_newest_has_sampled(delayed):
    base = load_params(delayed / "warm_start" / "params.safetensors")
    state, tokens = by_hand(configuration(), base, steps=4)
    jax.tree.map(np.testing.assert_array_equal, final_state(delayed), state)
    groups = list(RunDirectory(delayed).rollouts())
    for group, rows in zip(groups, np.concatenate(tokens), strict=True):
        assert [one.tokens for one in group.completions] == [
            row[: one.length].tolist() for one, row in zip(group.completions, rows, strict=True)
        ]
    assert [group.policy_step for group in groups[::8]] == [0, 0, 1, 2]
    lines = [line for line in metrics(delayed) if line["kind"] == "train"]
    assert [line["staleness"] for line in lines] == [0, 1, 1, 1]
    moved = [line for line in lines if line["minibatches"]]
    assert moved[0]["sampler_difference"] < 1e-4 < moved[-1]["sampler_difference"]
    assert all(line["sampler_difference/kl"] > 0 and line["effective_sample_share"] < 1 for line in moved[1:])


def test_a_completion_is_replayed_with_the_policy_that_sampled_it(delayed):
    assert replay(delayed, step=4, prompt="0", sample=0, devices=ONE_DEVICE).equal
    with pytest.raises(FileNotFoundError, match=r"policy after step 1 is not kept.* can be replayed: 1, 2, 4"):
        replay(delayed, step=3, prompt="0", sample=0, devices=ONE_DEVICE)


def test_devices_that_only_sample_work_during_the_update(delayed, tmp_path, monkeypatch):
    """They get their work before the update does. The run is that of one device but for rounding."""
    calls, learn, batches, add = [], loop.learn, JaxEngine._batches, BatchQueue._add

    def told(name, sound):
        return lambda *arguments: (calls.append(name), sound(*arguments))[1]

    def all_given(*arguments):
        yield from batches(*arguments)
        calls.append("devices have work")

    monkeypatch.setattr(loop, "learn", told("update", learn))
    monkeypatch.setattr(BatchQueue, "_add", told("batch", add))
    monkeypatch.setattr(JaxEngine, "_batches", all_given)
    experiment = build(configuration(mesh__rollout_share=0.5, rollout__prompts_per_batch=4), jax.devices()[:2])
    assert [one.mesh.devices.tolist() for one in (experiment.programs, experiment.samplers)] == [
        [[[device]]] for device in jax.devices()[:2]
    ]
    train(experiment, tmp_path)
    step = ["devices have work", "update", "batch"]
    assert calls[:-1] == ["devices have work"] + ["devices have work", "batch"] + step * 4  # first an evaluation
    ours, theirs = list(RunDirectory(tmp_path).rollouts()), list(RunDirectory(delayed).rollouts())
    assert [group.policy_step for group in ours] == [group.policy_step for group in theirs]
    assert [[one.tokens for one in group.completions] for group in ours] == [
        [one.tokens for one in group.completions] for group in theirs
    ]
    jax.tree.map(
        lambda one, two: np.testing.assert_allclose(one, two, atol=1e-5), final_state(delayed), final_state(tmp_path)
    )


def test_a_share_of_whole_devices_samples():
    training, sampling = make_meshes(MeshConfig(tensor=2, rollout_share=0.25), jax.devices()[:8])
    assert (training.devices.shape, sampling.devices.shape) == ((3, 1, 2), (1, 1, 2))
    assert [*training.devices.flatten(), *sampling.devices.flatten()] == jax.devices()[:8]
    for share, devices in ((0.3, 8), (1.0, 8), (0.5, 1)):
        with pytest.raises(ConfigError, match=rf"^mesh\.rollout_share={share:g}: .* whole devices of the {devices} "):
            make_meshes(MeshConfig(rollout_share=share), jax.devices()[:devices])
    for changes, share in (({"data": 8}, 0.25), ({"tensor": 2}, 0.125)):
        left = 8 - round(8 * share)
        with pytest.raises(
            ConfigError, match=rf"^mesh\.rollout_share={share}: leaves {left} devices for training and .*; mesh="
        ):
            make_meshes(MeshConfig(**changes, rollout_share=share), jax.devices()[:8])


@pytest.mark.trap(41)
def test_a_run_that_is_extended_and_killed_goes_on_with_its_batch_in_flight(delayed, tmp_path):
    train_config(configuration(train__steps=2), tmp_path, None, ONE_DEVICE)  # it has sampled the batch of step 3
    with pytest.raises(Crash):
        train_config(configuration(), tmp_path, Disturbed("training", 3, crash), ONE_DEVICE)
    train_config(configuration(), tmp_path, None, ONE_DEVICE)
    jax.tree.map(np.testing.assert_array_equal, final_state(delayed), final_state(tmp_path))
    assert list(RunDirectory(tmp_path).rollouts()) == list(RunDirectory(delayed).rollouts())
    ours, theirs = ([line for line in metrics(run) if line["kind"] == "train"] for run in (tmp_path, delayed))
    assert ours == theirs


def test_a_batch_in_flight_is_read_as_it_was_written():
    batch = collected_of([[1.0, 0.25], [0.0, 0.0]], np.array([[True, False], [True, True]]))
    verdict = Verdict(0.1, "5", scored=False, right=None, terms={"mine:length": -0.3})
    other = dataclasses.replace(batch.judged[0].completions[0], text="é\n", stopped=False, verdict=verdict)
    judged = [dataclasses.replace(batch.judged[0], completions=[other]), *batch.judged[1:]]
    record = InFlight.of(dataclasses.replace(batch, judged=judged))
    read = InFlight.from_json(json.loads(json.dumps(record.to_json()))).batch()
    assert read.judged == judged
    assert read.judged[0].completions[0].verdict.terms == verdict.terms
    of_batch = batch.rollouts, batch.outcomes, batch.advantages, batch.chosen, batch.prompt_weights
    of_read = read.rollouts, read.outcomes, read.advantages, read.chosen, read.prompt_weights
    for array, found in zip(jax.tree.leaves(of_batch), jax.tree.leaves(of_read), strict=True):
        assert found.dtype == array.dtype
        np.testing.assert_array_equal(found, array)
    assert (read.version, read.consumed) == (batch.version, batch.consumed)
    earlier = record.to_json()
    del earlier["passed"]  # as earlier versions
    for name in ("prompt_weights", "evidence", "success"):
        del earlier["arrays"][name]
    read = InFlight.from_json(json.loads(json.dumps(earlier))).batch()
    assert (read.consumed, read.prompt_weights.tolist()) == (2, [1.0, 1.0])
    np.testing.assert_array_equal(read.outcomes.success, read.outcomes.expected)


def test_a_fork_inherits_what_decided_the_batches_in_flight(delayed, tmp_path):
    def forked(**changes):
        return fork(RunDirectory(tmp_path / "fork"), configuration(train__steps=9, **changes), Origin(delayed, 2))

    for field, changed in {"rollout.delay": 0, "seed": 1, "objective.clip_high": 0.5}.items():
        with pytest.raises(ConfigError, match=f"{field} is .* there and {changed} here; this fork inherits"):
            forked(**{field.replace(".", "__"): changed})
    assert forked(optimizer__learning_rate=1e-5)
