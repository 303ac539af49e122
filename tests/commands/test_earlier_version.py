"""Directories that commit e597795 wrote (tests/fixtures) continue, restore, replay, regrade and report."""

import functools
import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest

from grpo_jax.commands import regrade, report, study
from grpo_jax.commands import train as command
from grpo_jax.config import load, to_dict
from grpo_jax.config.earlier import current
from grpo_jax.reporting.panels import PANELS
from grpo_jax.reporting.report import write_report
from grpo_jax.runs.directory import RunDirectory
from grpo_jax.training import Silent, replay, restore, train_config
from tests.fixtures.tiny import get_study
from tests.helpers import CONFIGS, ROOT, metrics

FIXTURES = ROOT / "tests" / "fixtures"
ONE_DEVICE = jax.devices()[:1]
OF_THE_STUDY = ("optimizer.warmup_updates", "checkpoint.keep_last")  # the run has the defaults of its time
FLAGS = {
    **{field: value for field, value in get_study()["shared"].items() if field not in OF_THE_STUDY},
    "train.steps": 6,
    "checkpoint.every": 2,
    # The defaults of its time:
    "train.logprob_chunk": 0,
    "train.stuck_after": 0,
    "rollout.lanes": 0,
    "checkpoint.minutes": 0,
}
ADDED = (
    "rollout.lanes",
    "rollout.speculation",
    "rollout.quantization",
    "rollout.engine",
    "rollout.delay",
    "rollout.selection",
    "train.stuck_after",
    "checkpoint.minutes",
    "objective.credit",
    "mesh.rollout_share",
    "model.architecture.num_experts",
    "model.architecture.experts_per_token",
    "model.architecture.normed_routing",
    "model.architecture.qk_norm_of_all_heads",
    "model.architecture.pre_norms",
    "model.architecture.embedding_multiplier",
    "model.architecture.residual_multiplier",
    "model.architecture.logit_divisor",
    "model.architecture.rope.amplitude",
    "model.architecture.rope.whole_dimensions",
    "model.architecture.rope.share",
    "model.architecture.rope.short_factors",
)


SHARED = ["--config.train.microbatch_groups=8"]  # the eight devices of the tests share what one had


class Listening(Silent):
    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)


@pytest.fixture
def run(tmp_path):
    return Path(shutil.copytree(FIXTURES / "run", tmp_path / "run"))


def config(**changes):
    flags = FLAGS | {name.replace("__", "."): value for name, value in changes.items()}
    return load(CONFIGS / "two_grpo.py", [(field, str(value)) for field, value in flags.items()])


def test_the_same_command_means_the_same_configuration():
    """Fields that were added since are the only difference."""
    written = current(json.loads((FIXTURES / "run" / "config.json").read_text()))
    now = to_dict(config())
    for path in ADDED:
        *sections, field = path.split(".")
        del functools.reduce(dict.__getitem__, sections, now)[field]
    assert now == written


def test_a_run_is_continued(run):
    before, display = metrics(run), Listening()
    summary = train_config(config(), run, display, ONE_DEVICE)
    assert (summary.steps, summary.rollouts) == (6, 96)
    assert any("was begun before inputs were recorded" in note for note in display.notes)
    after = metrics(run)
    assert after[: len(before)] == before
    assert [line["step"] for line in after if line["kind"] == "train"] == [1, 2, 3, 4, 5, 6]
    assert "96 rollouts" in write_report(run).read_text()


def test_the_same_command_continues_a_run_with_fewer_fields(run, capsys):
    values = json.loads((run / "config.json").read_text())
    del values["logging"]["arms_every"]
    (run / "config.json").write_text(json.dumps(values))
    flags = [f"--config.{field}={value}" for field, value in FLAGS.items()]
    assert command.main([f"--config={CONFIGS / 'two_grpo.py'}", f"--workdir={run}", *flags, *SHARED]) == 0
    told = capsys.readouterr().out
    assert all(text in told for text in ("; filled in ", " rollout.lanes=0, ", "logging.arms_every=0"))
    assert "from here on" not in told.replace("train.microbatch_groups: 4 so far, 8 from here on", "")
    assert RunDirectory(run).config()["logging"]["arms_every"] == 0


def test_a_run_with_fewer_fields_is_continued_on_another_mesh(run):
    """Fields that were added since have the values that they implicitly had. Four devices share the work of one."""
    values = json.loads((run / "config.json").read_text())
    del values["logging"]["arms_every"], values["mesh"], values["rollout"]["noise"], values["objective"]["std_ddof"]
    (run / "config.json").write_text(json.dumps(values))
    display = Listening()
    train_config(config(mesh__fsdp=2, mesh__tensor=1, mesh__data=2), run, display, jax.devices()[:4])
    filled = next(note for note in display.notes if note.startswith("config.json was written by an earlier version"))
    assert "arms_every=0" in filled
    assert "logging.arms_every: 0 so far, 20 from here on" in display.notes
    assert "mesh.fsdp: 1 so far, 2 from here on" in display.notes
    assert any("last digits" in note for note in display.notes)
    assert RunDirectory(run).config()["mesh"] == {"data": 2, "fsdp": 2, "tensor": 1, "rollout_share": 0.0}


@pytest.mark.parametrize("step", [2, 4, 0])
def test_a_run_is_restored(run, step):
    experiment, restored = restore(run, ONE_DEVICE, step=step)
    assert restored.step == step
    assert experiment.config == config()
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(jax.device_get(restored.params)))


@pytest.mark.parametrize(("step", "sample"), [(1, 0), (3, 1)])
def test_a_completion_is_sampled_again(run, step, sample):
    found = replay(run, step=step, prompt="2", sample=sample, devices=ONE_DEVICE)
    assert found.equal
    assert found.largest_difference < 1e-4


def test_completions_are_judged_again(run, capsys):
    flags = [f"--config.{field}={value}" for field, value in FLAGS.items()]
    assert regrade.main([f"--workdir={run}", f"--config={CONFIGS / 'two_grpo.py'}", *flags]) == 0
    assert "0 of 64 completions have another verdict" in capsys.readouterr().out


def test_an_unfinished_run_is_reported(run, capsys):
    assert report.main([str(run)]) == 0
    assert "at step 4 of 6" in (run / "report.html").read_text()


@pytest.mark.slow
def test_a_run_with_adapters_is_reported_restored_replayed_and_continued(tmp_path, capsys):
    run = Path(shutil.copytree(FIXTURES / "run_lora", tmp_path / "run"))
    assert report.main([str(run)]) == 0
    assert "at step 4 of 6" in (run / "report.html").read_text()
    ours = config(model__lora__rank=2, model__lora__alpha=4.0)
    experiment, restored = restore(run, ONE_DEVICE, step=4)
    assert experiment.config == ours
    base = experiment.programs.policy_weights(restore(run, ONE_DEVICE, step=0)[1].params)
    changed = jax.tree.map(lambda one, other: (one != other).any(), restored.params, base)
    assert any(jax.tree.leaves(jax.device_get(changed)))  # the adapters are merged into the kernels
    found = replay(run, step=3, prompt="2", sample=1, devices=ONE_DEVICE)
    assert found.equal
    assert found.largest_difference < 1e-4
    before = metrics(run)
    assert train_config(ours, run, Listening(), ONE_DEVICE).rollouts == 96
    after = metrics(run)
    assert after[: len(before)] == before
    assert [line["step"] for line in after if line["kind"] == "train"] == [1, 2, 3, 4, 5, 6]


def test_the_share_of_groups_with_signal_is_drawn():
    """The metric has the name that it had then."""
    lines = [json.loads(line) for line in (FIXTURES / "run" / "metrics.jsonl").read_text().splitlines()]
    then = [line["valid_pair_share"] for line in lines if line["kind"] == "train"]
    (panel,) = (panel for panel in PANELS if panel.title == "share of groups")
    assert min(then) > 0
    assert panel.values(RunDirectory(FIXTURES / "run").metrics().training)["with signal"] == then


@pytest.mark.slow
def test_a_study_is_continued_and_reported(tmp_path, capsys, monkeypatch):
    """The last of its four runs is missing. The finished ones do not change."""
    monkeypatch.chdir(ROOT)
    workdir = Path(shutil.copytree(FIXTURES / "study", tmp_path / "study"))
    finished = sorted(workdir.rglob("summary.json"))
    before = [path.read_bytes() for path in finished]
    assert study.main([f"--study={FIXTURES / 'tiny.py'}", f"--workdir={workdir}", "--jobs=1"]) == 0
    told = capsys.readouterr().out
    assert "3 finished" in told
    assert "G = 4, seed 1: test pass@1" in told
    assert [path.read_bytes() for path in finished] == before
    assert len(sorted(workdir.rglob("summary.json"))) == 4
    assert report.main([str(workdir)]) == 0
    assert "Does an earlier version" in (workdir / "report" / "report.html").read_text()
