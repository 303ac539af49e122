"""The checks of an accelerator, in their short form: they pass here, and find what is wrong."""

import dataclasses
import json
import math
import subprocess
from types import SimpleNamespace

import jax
import pytest

from grpo_jax.config import load
from grpo_jax.runs.directory import RunDirectory
from grpo_jax.training.experiment import check_batches
from tests.helpers import summary_of
from tools import check_accelerator
from tools.check_accelerator import DEMO, FULL, SHORT, Machine, Report, Row, Setting, topology_of

BRIEF = dataclasses.replace(
    SHORT, model=SHORT.model | {"rollout.max_new_tokens": 8, "model.architecture.num_layers": 1}
)


@pytest.fixture
def one():
    return Machine(BRIEF, jax.devices()[:1])


def test_the_sampler_is_compared_with_the_trainer(one, monkeypatch):
    single, half = check_accelerator.sampler_and_trainer(one)
    assert single.passed
    assert half.passed
    assert single.figure < 1e-5 < half.figure
    score = Setting.score
    monkeypatch.setattr(Setting, "score", lambda *arguments: score(*arguments) + 0.05)  # by a part of a token
    single, half = check_accelerator.sampler_and_trainer(one)
    assert not single.passed
    assert not half.passed


def test_all_devices_are_compared_with_one(monkeypatch):
    several = Machine(BRIEF, jax.devices()[:2])
    rows = list(check_accelerator.shards(several))
    assert [row.name for row in rows] == ["shards, sampling", "shards, loss", "shards, grad_norm"]
    assert all(row.passed for row in rows)
    assert list(check_accelerator.shards(Machine(BRIEF, jax.devices()[:1]))) == []
    # Other parameters on the first call: what all devices compute.
    keys = iter([1, 0, 1, 0])
    monkeypatch.setattr(Setting, "params", lambda self: self.programs.init_params(jax.random.key(next(keys))))
    assert not all(row.passed for row in check_accelerator.shards(several))


def test_attention_is_compared(one, monkeypatch):
    (row,) = check_accelerator.fused_attention(one)
    assert row.passed
    assert row.note == "there is no kernel for cpu: plain attention twice"
    # A kernel that sees one token too few.
    plain = check_accelerator.causal
    monkeypatch.setattr(
        check_accelerator,
        "fused_causal",
        lambda mesh: lambda q, k, v, scoring: plain(q, k, v.at[:, 0].set(0), scoring),
    )
    (row,) = check_accelerator.fused_attention(one)
    assert not row.passed


def test_the_forms_have_valid_configurations():
    """Nothing of the full one is computed here."""
    for fields in (FULL.demo, FULL.killed, SHORT.demo, SHORT.killed):
        load(DEMO, [(name, str(value)) for name, value in fields.items()])
    for fields in (FULL.model, FULL.timed):
        setting = Setting.of(fields, jax.devices())
        check_batches(setting.config, len(jax.devices()))
        assert setting.prompts.tokens.max() < setting.programs.policy.vocab_size


def test_a_row_passes_up_to_its_limit():
    assert Row("a", "b", 0.5, 0.5).passed
    assert Row("a", "b", 1e9).passed
    assert not Row("a", "b", 0.51, 0.5).passed
    assert not Row("a", "b", math.nan).passed


@pytest.fixture
def process(monkeypatch):
    """Processes end with this exit code and these lines, and are not started."""

    def ending(code, out=""):
        done = subprocess.CompletedProcess([], code, out, "")
        monkeypatch.setattr(check_accelerator, "_run", lambda command: done)

    return ending


def test_the_demo(process, tmp_path):
    process(0)
    form = dataclasses.replace(SHORT, wrong=0.05)
    (row,) = check_accelerator.demo(form, tmp_path)
    assert not row.passed  # it wrote no summary
    (tmp_path / "demo").mkdir()
    for right, passed in ((0.99, True), (0.6, False)):
        RunDirectory(tmp_path / "demo").write_summary(summary_of(0.1, right))
        (row,) = check_accelerator.demo(form, tmp_path)
        assert row.passed == passed
        assert row.figure == pytest.approx(1 - right)
    process(1, "said\nerror: no\n")
    (row,) = check_accelerator.demo(form, tmp_path)
    assert (row.passed, row.note) == (False, "error: no")


def test_killing(process, tmp_path):
    for code in (0, 1):
        process(code, "28 of 28 arrays\n9 lines of metrics are equal\n")
        (row,) = check_accelerator.kill_and_resume(SHORT, tmp_path)
        assert row.passed == (code == 0)
        assert row.note == "9 lines of metrics are equal"


@pytest.mark.parametrize(
    ("kind", "platform", "coordinates", "topology"),
    [
        ("NVIDIA H100 80GB HBM3", "gpu", [None] * 8, "h100:8"),
        ("NVIDIA A100-SXM4-80GB", "gpu", [None], "a100:1"),
        ("TPU v5 lite", "tpu", [(0, 0, 0), (1, 0, 0), (0, 1, 0), (1, 1, 0)], "v5e:2x2"),
        ("TPU v5e", "tpu", [(0, 0, 0), (1, 0, 0)], "v5e:2x1"),
        ("TPU v5", "tpu", [(0, 0, 0), (1, 1, 1)], "v5p:2x2x2"),
        ("TPU v5p", "tpu", [(0, 0, 0), (1, 1, 1)], "v5p:2x2x2"),
        ("TPU v6 lite", "tpu", [(0, 0, 0), (1, 1, 0)], "v6e:2x2"),
        ("cpu", "cpu", [None], None),
    ],
)
def test_the_devices_as_a_plan_names_them(kind, platform, coordinates, topology):
    devices = [SimpleNamespace(device_kind=kind, platform=platform, coords=at) for at in coordinates]
    assert topology_of(devices) == topology


def test_the_command(process, monkeypatch, tmp_path, capsys):
    def broken(machine):
        yield Row("first", "this | that", 0.1, 0.2)
        raise ValueError("no\nmore")

    process(0, "cpu\n")
    monkeypatch.setattr(check_accelerator, "PROCESSES", ())
    monkeypatch.setattr(check_accelerator, "CHECKS", (broken,))
    assert check_accelerator.main([f"--to={tmp_path / 'made' / 'cpu.2'}"]) == 1
    assert "FAILED  broken: ended with an error: nan  ValueError: no more" in capsys.readouterr().out
    page = (tmp_path / "made" / "cpu.2.md").read_text()
    assert "2 checks, 1 of them failed." in page
    assert "| first | this / that | 0.1 | 0.2 | yes |  |" in page
    assert "| broken | ended with an error | nan | - | NO | ValueError: no more |" in page
    report = Report.from_json(json.loads((tmp_path / "made" / "cpu.2.json").read_text()))
    assert [row.passed for row in report.rows] == [True, False]
    assert report.form == "short"
    monkeypatch.setattr(check_accelerator, "CHECKS", ())
    assert check_accelerator.main([f"--to={tmp_path / 'cpu'}"]) == 0
