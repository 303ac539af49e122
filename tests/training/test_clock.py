"""Seconds go to what causes them, whoever waits, and none are lost."""

import contextlib
import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pytest

from grpo_jax.data import Split
from grpo_jax.runs.directory import RunDirectory
from grpo_jax.runs.lines import SampleStatistics
from grpo_jax.runs.phases import PHASES, TRAINING, training_seconds, whole
from grpo_jax.training import Silent, clock, collect, loop
from grpo_jax.training.clock import Clock
from grpo_jax.training.late_log import LateLog
from grpo_jax.training.metrics import Mean
from grpo_jax.training.run import Run
from tests.helpers import make_config

STATISTICS = dataclasses.replace(SampleStatistics.from_json({}), tokens=100)
STEPS, UPDATE, EVALUATION, HOST = 5, 0.05, 0.02, 0.01  # seconds of each


class VirtualTime:
    """Time that passes only when somebody waits, so that a busy machine changes nothing."""

    def __init__(self):
        self.now = 0.0

    def perf_counter(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


@pytest.fixture
def time(monkeypatch):
    virtual = VirtualTime()
    monkeypatch.setattr(clock, "time", virtual)
    return virtual


class Busy:
    """A number on a device that is still computing it: whoever looks at it waits."""

    def __init__(self, value, ready, time):
        self.value, self.ready, self.time = value, ready, time

    def block_until_ready(self):
        self.time.sleep(max(self.ready - self.time.perf_counter(), 0))
        return self

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.block_until_ready().value, dtype)


class Machine:
    """An experiment without computations: updates are dispatched at once, and each takes `UPDATE`."""

    shardings = objective = None
    able = SimpleNamespace(concurrent=False)
    engine = SimpleNamespace(capabilities=able, load=lambda weights, version: None, unload=lambda: None)

    def __init__(self, config, time):
        self.config, self.done, self.time = config, 0.0, time
        self.programs = self

    def sampling_weights(self, params):
        return params

    def update(self, state, batch):
        self.done = max(self.done, self.time.perf_counter()) + UPDATE
        made = SimpleNamespace(params=Busy(0.0, self.done, self.time), updates=np.int32(state.updates + 1))
        return made, {"loss": Mean(Busy(1.0, self.done, self.time), np.float32(1))}


def trained(tmp_path, monkeypatch, time, **changes):
    """The clock of a run on such a machine, and what its metrics say."""
    config = make_config(
        train__steps=STEPS, optimizer__warmup_updates=1, checkpoint__keep_best=0, checkpoint__every=100, **changes
    )
    start = SimpleNamespace(params=Busy(0.0, 0.0, time), updates=np.int32(0))
    rollouts = SimpleNamespace(completion_lengths=None)
    collected = SimpleNamespace(
        consumed=8,
        signal=None,
        judged=[None] * 8,
        prompt_ids=[],
        outcomes=SimpleNamespace(rewards=None, scored=None),
        successes=None,
        rollouts=rollouts,
    )

    def slowly(seconds, value):
        return lambda *of, **named: time.sleep(seconds) or value

    def evaluate(run, split, params, step):
        time.sleep(EVALUATION)

    for name, stub in {
        "_begin": lambda run: (start, None),
        "_minibatches": lambda *of: [None],
        "_arms": lambda *of: {},
        "evaluate_split": evaluate,
        "rollout_statistics": slowly(HOST, STATISTICS),
        "training_groups": lambda collected, step: [],
        "_record": lambda *of: {},
        "Visits": SimpleNamespace(empty=lambda half_life, room: SimpleNamespace(observe=slowly(0.0, None))),
        "PromptSource": lambda problems, seed: SimpleNamespace(start_of_step=lambda cursor, prompts: cursor),
    }.items():
        monkeypatch.setattr(loop, name, stub)
    monkeypatch.setattr(collect, "begin_collecting", lambda *of, **named: lambda: collected)
    directory, running = RunDirectory(tmp_path / "run"), Clock()
    directory.create()
    checkpoints = SimpleNamespace(
        restore_latest=lambda like: None, save=lambda step, state, record, score: np.asarray(state.params)
    )
    stop = SimpleNamespace(requested=lambda: False, obey=lambda: None)
    problems = {split: [] for split in Split}
    loop.run_steps(Run(Machine(config, time), problems, directory, checkpoints, running, stop, Silent()))
    lines = directory.metrics().training
    directory.close()
    return running.read(), lines


@pytest.mark.parametrize("every", [0, 1, 2])
def test_an_update_costs_the_same_however_often_a_run_is_evaluated(tmp_path, monkeypatch, time, every):
    """Evaluations, saves and metrics that come next would wait for it; they have seconds of their own only."""
    seconds, lines = trained(tmp_path, monkeypatch, time, evaluation__every=every)
    evaluations = {0: 2, 1: STEPS + 3, 2: 6}[every]  # at both ends of two splits
    assert seconds["host"] == pytest.approx(STEPS * HOST)
    assert seconds["update"] + seconds["host"] == pytest.approx(STEPS * UPDATE)
    assert seconds["evaluation"] == pytest.approx(evaluations * EVALUATION)
    assert seconds["checkpoints"] == 0
    taken = np.diff([line.seconds for line in lines], prepend=0.0)
    np.testing.assert_allclose(taken, UPDATE)  # each line has all of its own step, and nothing of another
    np.testing.assert_allclose([line.tokens_per_second for line in lines], 100 / taken, rtol=1e-3)


def test_metrics_wait_for_an_update_in_its_phase(tmp_path, time):
    directory, running = RunDirectory(tmp_path / "run"), Clock()
    directory.create()
    log = LateLog(make_config(), directory, running, Silent(), updates=0)
    log.push(1, 8, STATISTICS, [{"loss": Mean(Busy(1.0, time.perf_counter() + UPDATE, time), np.float32(1))}], {})
    log.flush()
    directory.close()
    assert running.read()["update"] == pytest.approx(UPDATE)


def test_every_moment_is_of_one_phase(monkeypatch):
    """Nested or not, and what is compiled in one of them is taken out of it."""
    now, compiled = [0.0], clock._compile_seconds
    monkeypatch.setattr(clock, "time", SimpleNamespace(perf_counter=lambda: now[0]))

    def passes(seconds):
        now[0] += seconds

    running = Clock()
    passes(1)
    running.turn_to("host")
    passes(2)
    with running.phase("rewards"):
        passes(4)
        with running.phase("sampling"):
            passes(8)
            monkeypatch.setattr(clock, "_compile_seconds", compiled + 3)
            assert running.read()["sampling"] == 5  # also in the middle of it, as what is saved there has it
        passes(16)
    passes(32)
    with contextlib.suppress(KeyError), running.phase("evaluation"):
        passes(64)
        raise KeyError
    running.turn_to("other")
    passes(128)
    found = running.read()
    want = {"other": 129, "host": 34, "rewards": 20, "sampling": 5, "evaluation": 64, "compile": 3, "total": 255}
    assert {name: value for name, value in found.items() if value} == want
    assert running.training() == training_seconds(found) == 34 + 20 + 5


def test_a_clock_goes_on_from_any_version_of_itself():
    """Earlier ones charged start, checkpoints and host work to nothing: their sum is kept, and is no training."""
    before = {"warm_start": 30.0, "sampling": 5.0, "rewards": 1.0, "update": 2.0, "evaluation": 3.0, "compile": 4.0}
    running = Clock()
    running.continue_from({**before, "total": 50.0})
    found = running.read()
    assert found["other"] == pytest.approx(5.0, abs=0.1)
    assert found["total"] == pytest.approx(50.0, abs=0.1)
    assert running.training() == 8.0
    again = Clock()
    again.continue_from(json.loads(json.dumps(found)))
    assert again.read()["total"] == pytest.approx(found["total"], abs=0.1)
    assert set(found) == set(whole({})) == {*PHASES, "total"}
    assert set(TRAINING) < set(PHASES)
