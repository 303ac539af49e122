"""Whole runs, small: what they leave behind, and that they end alike however often they are interrupted."""

import dataclasses
import gc
import io
import itertools
import json
import re
import shutil
import signal
from contextlib import closing
from pathlib import Path

import jax
import numpy as np
import pytest

from grpo_jax.commands import runs
from grpo_jax.config import ConfigError, MeshConfig, to_dict
from grpo_jax.data import Problem, Split
from grpo_jax.policy import load_params
from grpo_jax.reporting.report import write_report
from grpo_jax.reporting.study.runs import read_run
from grpo_jax.reporting.summary import show_summary
from grpo_jax.rewards import WorkerError, chains
from grpo_jax.runs.checkpoints import Checkpoints
from grpo_jax.runs.directory import RunDirectory
from grpo_jax.runs.fork import fork
from grpo_jax.runs.inputs import Inputs, TokenizerDigest
from grpo_jax.runs.phases import PHASES
from grpo_jax.runs.provenance import Provenance
from grpo_jax.runs.record import RunRecord, write_record
from grpo_jax.runs.seals import seal
from grpo_jax.runs.summary import Summary
from grpo_jax.terminal import PlainConsole
from grpo_jax.training import (
    Interrupted,
    Origin,
    Silent,
    TrainingError,
    collect,
    loop,
    restore,
    start,
    train_config,
    warm_start,
)
from grpo_jax.training.evaluations import evaluations_due
from grpo_jax.training.late_log import LateLog
from grpo_jax.training.loop import Progress, checkpoint_due
from tests.helpers import ROOT, TINY, make_config, metrics

ONE_DEVICE = jax.devices()[:1]


def run(workdir, display=None, **changes):
    """An epoch has five steps, and four problems that are passed over: places in it are no multiples of steps."""
    changes = {"task__train_problems": 44, **changes}
    return train_config(make_config(**changes), workdir, display, ONE_DEVICE)


def final_state(workdir):
    """The last checkpoint, on one device whatever the run's mesh was."""
    experiment, restored = restore(workdir, ONE_DEVICE, MeshConfig(data=1, fsdp=1, tensor=1))
    assert restored.step == experiment.config.train.steps
    return jax.device_get(restored.state)


def scores(workdir):
    """The scores of the checkpoints that a run keeps by its schedule."""
    kept = (path for path in (workdir / "checkpoints").iterdir() if int(path.name) % TINY["checkpoint.every"] == 0)
    return {path.name: json.loads((path / "metrics" / "metrics").read_text()) for path in kept}


def assert_same_run(first, second):
    jax.tree.map(np.testing.assert_array_equal, final_state(first), final_state(second))
    assert scores(first) == scores(second)
    assert metrics(first) == metrics(second)
    for folder in ("rollouts", "evaluation"):
        files = sorted(path.name for path in (first / folder).iterdir())
        assert files == sorted(path.name for path in (second / folder).iterdir())
        for name in files:
            assert (first / folder / name).read_text() == (second / folder / name).read_text()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run from beginning to end, warm start included."""
    workdir = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("empty_cache")))
        return workdir, run(workdir)


class Disturbed(Silent):
    """Does something when a phase reaches a step."""

    def __init__(self, phase, step, act):
        self.moment, self.act = (phase, step), act

    def progress(self, phase, step, total, values):
        if (phase, step) == self.moment:
            self.act()


def terminate():
    signal.raise_signal(signal.SIGTERM)


class Crash(Exception):
    pass


def crash():
    raise Crash


def test_what_a_run_leaves_behind(whole):
    workdir, summary = whole
    assert sorted(path.name for path in workdir.iterdir()) == [
        "checkpoints", "config.json", "evaluation", "lock", "metrics.jsonl", "provenance.json", "rollouts",
        "summary.json", "tensorboard", "warm_start",
    ]  # fmt: skip
    written = json.loads((workdir / "summary.json").read_text())
    assert written == summary.to_json()
    assert Summary.from_json(written) == summary
    assert {"pass@1", "pass@k", "mean_length"} <= set(written["base"]) & set(written["final"])
    assert summary.prompts == 96
    assert summary.rollouts == 192
    assert 0 < summary.updates <= 12
    assert 0 < summary.signal_share < 1
    seconds = summary.seconds
    assert set(seconds) == {*PHASES, "total"}
    assert seconds["total"] == pytest.approx(sum(seconds[phase] for phase in PHASES), abs=1e-9)
    assert all(value > 0 for value in seconds.values())
    assert summary.seed == 0
    assert {"jax", "flax", "python"} <= set(summary.versions)
    assert len(summary.config_hash) == 16


@pytest.mark.trap(33)
def test_every_step_is_logged(whole):
    """The trainer agrees with the sampler in each of them: none sampled with weights of an earlier one."""
    workdir, summary = whole
    lines = metrics(workdir)
    training = [line for line in lines if line["kind"] == "train"]
    assert [line["step"] for line in training] == list(range(1, 13))
    assert [line["rollouts"] for line in training] == [16 * step for step in range(1, 13)]
    assert training[-1]["updates"] == summary.updates
    for line in training:
        shares = line["signal_share"] + line["groups/all_right"] + line["groups/all_wrong"]
        assert shares + line["groups/unjudged"] == pytest.approx(1.0)
        if line["signal_share"]:
            assert line["sampler_difference"] < 1e-4
            assert line["grad_norm"] > 0
    assert next(line["learning_rate"] for line in training if line["minibatches"]) == pytest.approx(2e-4 / 5)
    warm = [line["step"] for line in lines if line["kind"] == "warm_start"]
    assert warm == list(range(1, 51))


def test_evaluations_happen_when_they_should(whole):
    workdir, _ = whole
    found = [(line["split"], line["step"]) for line in metrics(workdir) if line["kind"] == "evaluation"]
    assert found == [
        ("TEST", 0), ("VALIDATION", 0), ("VALIDATION", 4), ("VALIDATION", 8), ("TEST", 12), ("VALIDATION", 12)
    ]  # fmt: skip
    names = sorted(path.name for path in (workdir / "evaluation").iterdir())
    assert names == [
        "000000_test.jsonl", "000000_validation.jsonl", "000004_validation.jsonl", "000008_validation.jsonl",
        "000012_test.jsonl", "000012_validation.jsonl",
    ]  # fmt: skip
    groups = list(RunDirectory(workdir).evaluation("000000_test"))
    assert [len(group.completions) for group in groups] == [2] * 8


def test_rollouts_are_readable_and_their_advantages_follow_from_their_rewards(whole):
    workdir, _ = whole
    groups = list(RunDirectory(workdir).rollouts())
    assert len(groups) == 96
    for group in groups:
        first, second = group.completions
        assert [first.advantage, second.advantage] == [first.reward - second.reward, second.reward - first.reward]
        assert group.signal == (first.reward != second.reward)
        assert first.tokens is not None
        assert len(first.tokens) == first.length


@pytest.mark.slow
@pytest.mark.trap(41)
@pytest.mark.parametrize(
    "moment",
    [("warm start", 7), ("warm start", 30), ("training", 2), ("training", 5), ("training", 8), ("training", 12)],
)
def test_terminated_and_continued_is_the_same_run(whole, tmp_path, moment, monkeypatch):
    """SIGTERM saves at once: between checkpoints, after an epoch (5), before an evaluation (8), after the last step."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(Interrupted, match="SIGTERM: saved at step"):
        run(tmp_path / "run", Disturbed(*moment, terminate))
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    run(tmp_path / "run")
    assert_same_run(whole[0], tmp_path / "run")


@pytest.mark.trap(41)
def test_a_stop_gives_up_the_samples_of_a_step(whole, tmp_path, monkeypatch):
    """It need not wait for the step's other batches and its update. The step is made again, bit for bit.

    Whenever the state is saved, the lines of its steps are on the disk.
    """
    sound, steps, workdir, synced = collect.begin_sampling, itertools.count(1), tmp_path / "run", []
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))  # `whole` has a warm start, too

    def told(*arguments, **keywords):
        if next(steps) == 6:
            terminate()
        return sound(*arguments, **keywords)

    with monkeypatch.context() as patch:
        patch.setattr(collect, "begin_sampling", told)
        patch.setattr(RunDirectory, "sync", lambda self: synced.append(metrics(workdir)[-1]["step"]))
        with pytest.raises(Interrupted, match="SIGTERM: saved at step 5 of 12"):
            run(workdir)
    assert synced == [0, 4, 5]
    assert [line["step"] for line in metrics(workdir) if line["kind"] == "train"] == [1, 2, 3, 4, 5]
    run(workdir)
    assert_same_run(whole[0], workdir)


def test_when_a_checkpoint_is_due():
    config = dataclasses.replace(make_config().checkpoint, every=10, minutes=2)
    assert [step for step in range(1, 31) if checkpoint_due(config, step, 119)] == [10, 20, 30]
    assert checkpoint_due(config, 1, 120)
    assert not checkpoint_due(dataclasses.replace(config, minutes=0), 1, 1e9)


@pytest.mark.slow
@pytest.mark.trap(41)
@pytest.mark.parametrize("moment", [("warm start", 25), ("training", 3), ("training", 6), ("training", 11)])
def test_crashed_and_continued_is_the_same_run(whole, tmp_path, moment, monkeypatch):
    """Nothing is saved when a process dies: the steps since the last checkpoint are made again, and their lines too."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(Crash):
        run(tmp_path / "run", Disturbed(*moment, crash))
    with open(tmp_path / "run" / "metrics.jsonl", "a") as file:
        file.write('{"phase": "train", "step": 9')  # and it died in the middle of a line
    run(tmp_path / "run")
    assert_same_run(whole[0], tmp_path / "run")


def test_a_finished_run_stays_as_it_is(whole):
    workdir, summary = whole
    before = {path: path.read_bytes() for path in workdir.rglob("*") if path.is_file()}
    assert run(workdir) == run(workdir, logging__rollouts_every=7) == summary
    assert {path: path.read_bytes() for path in workdir.rglob("*") if path.is_file()} == before


def test_a_run_that_is_extended_is_the_longer_run(whole, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(whole[0].parent / "cache_of_extension"))
    first = run(tmp_path, train__steps=8)
    summary = run(tmp_path)
    jax.tree.map(np.testing.assert_array_equal, final_state(whole[0]), final_state(tmp_path))
    test_of_the_first_part = [line for line in metrics(tmp_path) if line["step"] == 8 and line.get("split") == "TEST"]
    assert len(test_of_the_first_part) == 1
    assert [line for line in metrics(tmp_path) if line not in test_of_the_first_part] == metrics(whole[0])
    assert json.loads((tmp_path / "summary_000008.json").read_text()) == first.to_json()
    starts = json.loads((tmp_path / "provenance.json").read_text())["starts"]
    assert [one.get("changed") for one in starts] == [None, {"train.steps": [8, 12]}]
    assert [start.to_json() for start in summary.provenance.starts] == starts
    with pytest.raises(ConfigError, match="has already reached step 12"):
        run(tmp_path, train__steps=8)
    with pytest.raises(ConfigError, match=r"objective\.kl_coef"):
        run(tmp_path, train__steps=20, objective__kl_coef=0.1)


def test_a_fork_that_changes_nothing_is_the_run_that_it_branches_off(whole, tmp_path):
    """Its directory holds all that the run's does, so it needs its run no more."""

    def forked(step, workdir=tmp_path / "fork", **changes):
        config = make_config(**{"task__train_problems": 44, **changes})
        return train_config(config, workdir, None, ONE_DEVICE, Origin(whole[0], step))

    summary = forked(8)
    assert_same_run(whole[0], tmp_path / "fork")
    assert summary.provenance.forked_from.run == str(whole[0])
    assert summary.provenance.forked_from.step == 8
    assert forked(8) == summary  # finished
    for sentence, attempt in {
        r"no checkpoint of this step is kept; the kept ones are .*8, 12\.": lambda: forked(7, tmp_path / "x"),
        r"is at step 12, and train\.steps=12": lambda: forked(None, tmp_path / "x"),
        r"task\.train_problems is 44 there and 43 here": lambda: forked(8, tmp_path / "x", task__train_problems=43),
        r"evaluation\.test_samples is 2 there": lambda: forked(8, tmp_path / "x", evaluation__test_samples=1),
        r"rollout\.max_new_tokens is 4 there": lambda: forked(8, tmp_path / "x", rollout__max_new_tokens=5),
        "holds another run already": lambda: forked(8, whole[0], train__steps=20),
        "fork holds another run already": lambda: forked(4, tmp_path / "fork", train__steps=20),
    }.items():
        with pytest.raises(ConfigError, match=sentence):
            attempt()
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(("file", "sentence"), [("other/notes.txt", "holds other files"), ("lock", "is running in it")])
def test_a_fork_replaces_nothing(tmp_path, file, sentence):
    """Neither what else its directory holds, be it the run that it branches off, nor a run that has just begun."""
    run, there = tmp_path / "runs" / "run", tmp_path / "runs" / file
    (run / "checkpoints" / "4").mkdir(parents=True)
    (run / "config.json").write_text(json.dumps(to_dict(make_config())))
    seal(run / "checkpoints" / "4")
    there.parent.mkdir(exist_ok=True)
    workdir, held = RunDirectory(there.parent), RunDirectory(there.parent)
    if file == "lock":
        shutil.move(run, tmp_path / "run")
        run = tmp_path / "run"
        held.create(())
    else:
        there.write_text("kept")
    before = sorted(tmp_path.rglob("*"))
    with closing(held), pytest.raises(ConfigError, match=sentence):
        fork(workdir, make_config(), Origin(run, 4))
    assert sorted(tmp_path.rglob("*")) == before


def test_a_fork_that_was_never_begun_is_made_anew(tmp_path):
    """As after a mistake that was found behind it; a page can be made of it nevertheless."""
    run, workdir = tmp_path / "run", RunDirectory(tmp_path / "fork")
    (run / "checkpoints" / "4").mkdir(parents=True)
    (run / "config.json").write_text(json.dumps(to_dict(make_config())))
    seal(run / "checkpoints" / "4")
    for seed in (1, 2):
        # Evaluation is the run's, but for how many problems are sampled at once and how often.
        config = make_config(seed=seed, mesh__fsdp=2, evaluation__prompts_per_batch=4, evaluation__every=2)
        assert fork(workdir, config, Origin(run, 4)) == [f"forked from {run} at step 4"]
        assert workdir.config()["seed"] == seed
    assert "Unfinished: killed (no end was recorded), at step 0" in write_report(workdir.path).read_text()


def test_where_a_fork_comes_from_as_a_person_writes_it(tmp_path):
    (tmp_path / "a@3").mkdir()
    assert Origin.parse("runs/a@60") == Origin(Path("runs/a"), 60)
    assert Origin.parse("runs/a") == Origin(Path("runs/a"), None)
    assert Origin.parse(f"{tmp_path}/a@3") == Origin(tmp_path / "a@3", None)
    assert Origin.parse(f"{tmp_path}/a@3@5") == Origin(tmp_path / "a@3", 5)


@pytest.mark.slow
@pytest.mark.trap(42)
def test_evaluation_does_not_disturb_training(whole, tmp_path):
    run(tmp_path, evaluation__every=1, checkpoint__every=5)
    jax.tree.map(np.testing.assert_array_equal, final_state(tmp_path).params, final_state(whole[0]).params)


def test_a_warm_start_goes_on_on_another_mesh(whole, tmp_path, monkeypatch):
    """It comes to the same policy but for rounding. The cache does not get it: its recipe names one mesh."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(Interrupted):
        run(tmp_path / "run", Disturbed("warm start", 20, terminate))
    notes = []
    listening = Disturbed("training", 1, terminate)
    listening.note = notes.append
    config, devices = make_config(task__train_problems=44, mesh__fsdp=2), jax.devices()[:2]
    with pytest.raises(Interrupted):
        train_config(config, tmp_path / "run", listening, devices)
    assert "mesh.fsdp: 1 so far, 2 from here on" in notes
    assert "continued on other devices: 1 x cpu so far, now 2 x cpu" in notes
    assert any("last digits" in note for note in notes)
    assert list((tmp_path / "cache").rglob("*.safetensors")) == []
    own, other = (load_params(path / "warm_start" / "params.safetensors") for path in (tmp_path / "run", whole[0]))
    jax.tree.map(lambda one, two: np.testing.assert_allclose(one, two, atol=1e-4), own, other)


def test_another_seed_is_another_run_of_the_same_base_policy(whole, tmp_path):
    run(tmp_path, seed=1)
    own, other = (path / "warm_start" / "params.safetensors" for path in (tmp_path, whole[0]))
    assert own.read_bytes() == other.read_bytes()
    assert [line for line in metrics(tmp_path) if line["kind"] == "train"] != [
        line for line in metrics(whole[0]) if line["kind"] == "train"
    ]


def test_the_warm_start_is_taken_from_the_cache(tmp_path):
    notes = []
    run(tmp_path / "first")

    class Listening(Silent):
        def note(self, text):
            notes.append(text)

    summary = run(tmp_path / "second", Listening(), seed=2)
    assert any(note.startswith("base policy: taken from") for note in notes)
    assert summary.seconds["warm_start"] == 0.0
    assert not [line for line in metrics(tmp_path / "second") if line["kind"] == "warm_start"]


@pytest.mark.slow
def test_a_damaged_base_policy_is_made_anew(whole, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(Crash):
        run(tmp_path / "run", Disturbed("training", 6, crash))
    own = tmp_path / "run" / "warm_start" / "params.safetensors"
    (cached,) = (tmp_path / "cache").rglob("*.safetensors")
    for path in (own, cached):
        path.write_bytes(path.read_bytes()[:1000])
    run(tmp_path / "run")
    jax.tree.map(np.testing.assert_array_equal, final_state(whole[0]), final_state(tmp_path / "run"))


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"train__minibatches": 2},
        {"objective__old_logprobs": "trainer", "rollout__sampling__top_p": 0.9, "objective__importance_cap": 2.0},
        {"objective__kl_coef": 0.05, "train__minibatches": 2},
        {"rollout__group_size": 4, "objective__name": "grpo", "objective__std_ddof": 1},
        {"model__scan_layers": True, "model__remat": "full", "train__logprob_chunk": 3, "objective__name": "n_vs_m"},
    ],
    ids=["minibatches", "trainer", "kl", "grpo", "scanned"],
)
def test_other_settings_run_too(tmp_path, changes):
    summary = run(tmp_path, **changes)
    training = [line for line in metrics(tmp_path) if line["kind"] == "train"]
    with_update = [line for line in training if line["minibatches"]]
    assert summary.updates == sum(line["minibatches"] for line in training) > 0
    assert all(np.isfinite(line["grad_norm"]) for line in with_update)
    if "objective__kl_coef" in changes:
        assert len(with_update) == 12  # every group takes part in the KL term
        assert with_update[0]["reference_kl"] == pytest.approx(0.0, abs=1e-6)
        assert with_update[-1]["reference_kl"] > 0


@pytest.mark.trap(41)
def test_prompts_that_stood_in_for_others_are_consumed(tmp_path):
    """The next step of the epoch does not ask them again."""
    run(
        tmp_path,
        train__steps=2,
        optimizer__warmup_updates=1,
        rollout__prompts_per_batch=4,
        rollout__max_rollouts=40,
        evaluation__every=0,
        checkpoint__keep_best=0,
    )
    asked = [group.id for group in RunDirectory(tmp_path).rollouts()]
    assert 16 < len(asked) == len(set(asked)) <= 40


@pytest.mark.trap(41)
def test_a_run_without_any_update_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(Problem, "answer", property(lambda self: "?", lambda self, value: None), raising=False)
    with pytest.raises(TrainingError, match="no update was made"):
        run(tmp_path, train__steps=6)


def test_updates_that_are_not_finite_stop_the_run(tmp_path, monkeypatch):
    sound = collect._combine

    def broken(*arguments):
        found = sound(*arguments)
        return dataclasses.replace(
            found, advantages=np.where(found.advantages != 0, np.float32(np.nan), found.advantages)
        )

    monkeypatch.setattr(collect, "_combine", broken)
    with pytest.raises(TrainingError, match=r"3 updates in a row .* optimizer\.max_nonfinite=2"):
        run(tmp_path, optimizer__max_nonfinite=2, objective__name="grpo")
    training = [line for line in metrics(tmp_path) if line["kind"] == "train"]
    assert [line["nonfinite_in_a_row"] for line in training if line["minibatches"]] == [1, 2, 3]
    assert training[-1]["grad_norm"] is None


def test_the_schedule_of_evaluations():
    config = make_config(evaluation__every=5, checkpoint__every=5)
    due = {step: [split.name for split in evaluations_due(config, step)] for step in range(13)}
    assert {step: splits for step, splits in due.items() if splits} == {
        0: ["TEST", "VALIDATION"], 5: ["VALIDATION"], 10: ["VALIDATION"], 12: ["TEST", "VALIDATION"]
    }  # fmt: skip


@pytest.mark.trap(41)
def test_a_warm_start_goes_on_with_the_demonstrations_that_it_was_begun_with(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(Crash):
        run(tmp_path / "run", Disturbed("warm start", 15, crash))
    monkeypatch.setattr(warm_start, "digest_demonstrations", lambda *_: "of others")
    with pytest.raises(ConfigError, match="its warm start had other demonstrations when it was begun"):
        run(tmp_path / "run")


@pytest.mark.trap(45)
def test_prompts_of_a_warm_start_are_checked_before_it(tmp_path):
    """They are of a split of their own."""
    experiment = start.build(make_config(), ONE_DEVICE)

    class Prefixed(type(experiment.task)):
        prompt_prefix = (1,)
        max_prompt_tokens = experiment.task.max_prompt_tokens + 1

        def prompt_tokens(self, problems):
            rows = zip(problems, super().prompt_tokens(problems), strict=True)
            return [row if problem.split is Split.WARM_START else [1, *row] for problem, row in rows]

    own = dataclasses.replace(experiment, task=Prefixed(experiment.config.task))
    with pytest.raises(ConfigError, match=r"does not begin with the 1 token .*; correct its prompt_prefix"):
        start.train(own, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.trap(41)
def test_a_run_has_one_date(tmp_path, monkeypatch):
    """It is the date on which the run began, and a run that continues on another day still reads its inputs with it."""
    told = []

    def told_the_date(config, devices, date):
        told.append(date)
        raise Crash

    monkeypatch.setattr(start, "build", told_the_date)
    inputs = Inputs(
        date="2026-01-31T23:59:59+00:00", problems={}, tokenizer=TokenizerDigest("v", [0], {}), policy={}, code={}
    )
    for record in (None, RunRecord(inputs, Provenance([], None))):
        if record:
            write_record(RunDirectory(tmp_path), record)
            (tmp_path / "metrics.jsonl").touch()
        with pytest.raises(Crash):
            train_config(make_config(), tmp_path)
    assert told[0] != told[1] == "2026-01-31T23:59:59+00:00"


def test_what_is_no_run_cannot_be_restored(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"has no config.json; name the directory of a run"):
        restore(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(to_dict(make_config())))
    with pytest.raises(FileNotFoundError, match="has no checkpoint yet"):
        restore(tmp_path, ONE_DEVICE)
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


def test_the_best_checkpoint_is_by_validation(whole):
    workdir, _ = whole
    evaluations = [line for line in metrics(workdir) if line.get("split") == "VALIDATION"]
    _, best = restore(workdir, ONE_DEVICE, best=True)
    assert best.step in {line["step"] for line in evaluations}
    highest = max(line["pass@1"] for line in evaluations)
    assert highest == next(line["pass@1"] for line in evaluations if line["step"] == best.step)


def test_a_policy_that_is_not_finite_stops_the_run(tmp_path, monkeypatch):
    sound = loop.make_base_policy
    broken = lambda *x: jax.tree.map(lambda leaf: leaf * np.float32(np.nan), sound(*x))  # noqa: E731
    monkeypatch.setattr(loop, "make_base_policy", broken)
    with pytest.raises(TrainingError, match="step 1: the policy's log-probabilities are not finite"):
        run(tmp_path, evaluation__every=0, checkpoint__keep_best=0)


def test_a_directory_belongs_to_one_run_at_a_time(tmp_path):
    def second():
        with pytest.raises(ConfigError, match="another process is running in it"):
            RunDirectory(tmp_path).create()

    run(tmp_path, Disturbed("training", 5, second))


def test_a_cache_that_cannot_be_written_costs_nothing(tmp_path):
    notes = []

    class Listening(Silent):
        def note(self, text):
            notes.append(text)

    (tmp_path / "file").write_text("")
    run(tmp_path / "run", Listening(), warm_start__cache_dir=tmp_path / "file")
    assert any("cannot be cached" in note for note in notes)
    assert (tmp_path / "run" / "warm_start" / "params.safetensors").exists()


@pytest.mark.parametrize(("kl_coef", "copies"), [(0.0, 4), (0.1, 5)])
def test_the_base_policy_is_kept_for_a_kl_term_only(kl_coef, copies, tmp_path, monkeypatch):
    """While sampling there are parameters, two moments and the sampler's weights, and nothing else of their shape."""
    shape, found, begin_collecting = (17, 24), [], collect.begin_collecting
    monkeypatch.setattr(Checkpoints, "save", lambda *_: None)  # its copies may outlive it

    def counted(*arguments, **keywords):
        gc.collect()
        found.append(sum(array.shape == shape for array in jax.live_arrays()))
        return begin_collecting(*arguments, **keywords)

    monkeypatch.setattr(collect, "begin_collecting", counted)
    run(
        tmp_path / "run",
        model__architecture__embed_dim=24,
        train__steps=2,
        objective__kl_coef=kl_coef,
        optimizer__warmup_updates=1,
    )
    assert found == [copies] * 2


@pytest.mark.trap(16)
def test_a_reward_that_never_works_stops_the_run(tmp_path, monkeypatch):
    """It does not end hours later with a policy that has learned nothing. The lines up to there are written."""
    verify, asked = chains.last_value, itertools.count()

    def broken(attempt):
        return verify(attempt) if next(asked) < 16 else {}["mistake"]

    monkeypatch.setattr(chains, "last_value", broken)
    monkeypatch.setattr(loop, "evaluations_due", lambda config, step: [])
    with pytest.raises(TrainingError, match=r"^step 2: none of its completions could be scored .*KeyError: 16"):
        run(tmp_path)
    assert [line["step"] for line in metrics(tmp_path) if line["kind"] == "train"] == [1]


@pytest.mark.trap(16)
def test_a_reward_that_judges_nothing_is_noticed_before_the_first_step(tmp_path, monkeypatch):
    monkeypatch.setattr(chains, "last_value", lambda attempt: {}["mistake"])
    with pytest.raises(TrainingError, match=r"^test at step 0: none of its completions could be scored .*KeyError"):
        run(tmp_path)


@pytest.mark.trap(16)
def test_a_run_whose_reward_does_not_say_what_is_right(tmp_path, monkeypatch, capsys):
    """Its pass@1 is not known, which is not 0: neither in its files nor wherever they are shown."""
    verify, notes = chains.last_value, []
    monkeypatch.setattr(
        chains, "last_value", lambda attempt: dataclasses.replace(verify(attempt), right=None, answer="2")
    )
    display = Silent()
    monkeypatch.setattr(display, "note", notes.append)
    summary = run(
        tmp_path / "run", display, train__steps=4, evaluation__every=2, checkpoint__every=2, optimizer__warmup_updates=1
    )
    written = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    train, evaluations = ([line for line in written if line["kind"] == kind] for kind in ("train", "evaluation"))
    assert {line["pass@1"] for line in evaluations} == {line["accuracy"] for line in train} == {None}
    assert all(line["mean_reward"] is not None for line in evaluations)
    said = "\n".join(notes)
    assert "step 0, test: pass@1 is not known, because the reward does not say what is right; mean reward 0." in said
    assert said.count("checkpoint.keep_best=1 keeps none") == 1
    assert not summary.final.pass_at_1.known
    assert Summary.from_json(json.loads((tmp_path / "run" / "summary.json").read_text())).to_json() == summary.to_json()
    with pytest.raises(FileNotFoundError, match=r"does not say what is right, so .*; take the newest$"):
        restore(tmp_path / "run", ONE_DEVICE, best=True)
    with pytest.raises(ConfigError, match=r"pass@1 is not known, because"):
        read_run(tmp_path / "run")
    page = write_report(tmp_path / "run").read_text()
    assert "- is not known: the reward does not say" in page
    console = PlainConsole(file=io.StringIO(), width=100)
    show_summary(summary, tmp_path / "run", console)
    table = console.file.getvalue()
    assert "after RL  │      - │             - │      - │     - │" in table
    assert "- is not known: the reward does not say" in table
    assert runs.main([str(tmp_path)]) == 0
    listed = capsys.readouterr().out
    assert re.search(r"finished +4 of 4 +- +test ", listed)
    assert page.count('<td class="number">-</td>') == 8  # a table of two rows
    for shown in (table, listed, said):
        assert not re.search(r"(?<![\w.])nan\b|0\.000", shown)


@pytest.mark.parametrize("error", [TrainingError, WorkerError])
def test_what_is_held_back_is_written_when_training_fails(error, monkeypatch):
    flushed = []
    monkeypatch.setattr(LateLog, "flush", lambda self: flushed.append(self))
    log = LateLog.__new__(LateLog)
    with pytest.raises(error), log.written_on_failure():
        raise error
    assert flushed == [log]


def test_what_is_no_directory_or_no_file_in_a_run_is_named(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "checkpoints").touch()
    with pytest.raises(ConfigError, match=r"^--workdir=.*: .*checkpoints is no directory; name a new one"):
        run(tmp_path / "a")
    (tmp_path / "b" / "config.json").mkdir(parents=True)
    with pytest.raises(ConfigError, match=r"config\.json: cannot be read \(Is a directory\); restore it"):
        run(tmp_path / "b")


def test_a_damaged_file_of_a_run_is_named(tmp_path):
    (tmp_path / "config.json").write_text('{"seed": ')
    with pytest.raises(ConfigError, match=r"config\.json: is damaged"):
        restore(tmp_path)


def test_the_record_of_a_checkpoint_is_read_as_an_earlier_version_wrote_it():
    values = json.loads((ROOT / "tests/fixtures/run/checkpoints/2/record/metadata").read_text())
    progress = Progress.from_json(values)
    assert (progress.step, progress.cursor, progress.sampled_prompts) == (2, 16, 16)
    values["rewards"] = values.pop("successes")
    assert progress.to_json() == values
