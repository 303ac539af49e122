"""The command `train` in a process of its own, with flags and signals."""

import gzip
import json
import signal
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from grpo_jax.commands import report, train
from grpo_jax.runs.phases import PHASES
from tests.compilation import CACHE
from tests.helpers import CONFIGS, start, tiny_flags

COMMAND = ("launch/main.py", "--config=configs/two_grpo.py")

SUMMARY = {
    "base", "final", "prompts", "rollouts", "updates", "signal_share", "sampler_difference", "seconds", "seed",
    "config_hash", "versions", "steps", "provenance", "seconds_to_first_step", "peak_bytes", "lanes",
}  # fmt: skip


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Make a run, and return its directory and its output."""
    workdir = tmp_path_factory.mktemp("finished") / "run"
    process = start(*COMMAND, f"--workdir={workdir}", "--profile-steps=2:3", *tiny_flags())
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert err == ""
    return workdir, out


def test_a_run_leaves_everything_behind(finished):
    workdir, _ = finished
    names = {path.name for path in workdir.iterdir()}
    assert names == {
        "checkpoints", "config.json", "evaluation", "lock", "metrics.jsonl", "profile", "provenance.json",
        "report.html", "rollouts", "summary.json", "tensorboard", "warm_start",
    }  # fmt: skip
    summary = json.loads((workdir / "summary.json").read_text())
    assert set(summary) == SUMMARY
    assert set(summary["seconds"]) == {*PHASES, "total"}
    assert 0 < summary["seconds_to_first_step"] < summary["seconds"]["total"] + 60  # the clock starts after imports
    assert summary["peak_bytes"]["host"] > 2**27
    assert {"pass@1", "pass@k", "mean_length"} <= set(summary["base"])
    assert summary["rollouts"] == 2 * summary["prompts"] == 2 * 12 * 8
    assert list((workdir / "tensorboard").iterdir())


def test_the_phases_of_some_steps_are_traced(finished):
    workdir, out = finished
    (trace,) = (workdir / "profile").rglob("*.trace.json.gz")
    with gzip.open(trace, "rt") as file:
        names = [event.get("name") for event in json.load(file)["traceEvents"]]
    assert [names.count(phase) for phase in ("rewards", "evaluation", "checkpoints")] == [2, 0, 0]
    assert f"profile: {workdir}/profile" in out


def test_a_run_shows_its_table(finished):
    workdir, out = finished
    for text in (
        "before RL",
        "after RL",
        "8 test problems, 2 samples each",
        "first step done after",
        f"report: {workdir}/report.html",
    ):
        assert text in out


def contents(workdir):
    return {path: path.read_bytes() for path in workdir.rglob("*") if path.is_file()}


def test_a_finished_run_is_not_run_again(finished, capsys):
    workdir, _ = finished
    before = contents(workdir)
    assert train.main([f"--config={CONFIGS / 'two_grpo.py'}", f"--workdir={workdir}", *tiny_flags()]) == 0
    out = capsys.readouterr().out
    assert f"{workdir}: the run is finished and stays as it is" in out
    assert "after RL" in out
    assert contents(workdir) == before


def test_a_run_in_a_bucket(finished, capsys, monkeypatch, tmp_path):
    """This machine makes a working copy of a run that another one has finished."""
    workdir, _ = finished
    files = MemoryFileSystem()
    for path in contents(workdir):
        files.put_file(str(path), f"/b/run/{path.relative_to(workdir)}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    command = [f"--config={CONFIGS / 'two_grpo.py'}", "--workdir=memory://b/run", *tiny_flags()]
    assert train.main(command) == 0
    out = capsys.readouterr().out
    assert "memory://b/run: fetching" in out
    assert "the run is finished and stays as it is" in out
    assert files.cat_file("/b/run/summary.json") == (workdir / "summary.json").read_bytes()
    files.store.clear()


def test_reports_are_compared(finished, tmp_path, capsys):
    workdir, _ = finished
    figure = tmp_path / "both.svg"
    assert report.main([str(workdir), str(workdir), f"--compare={figure}"]) == 0
    assert f"{workdir}/report.html" in capsys.readouterr().out
    ElementTree.fromstring(figure.read_text())


def test_what_is_not_a_run_is_not_reported(tmp_path):
    process = start("launch/report.py", str(tmp_path))
    _, err = process.communicate()
    assert process.returncode == 2
    assert err == f"error: {tmp_path}: has no config.json; name the directory of a run\n"


def wait_for(process, workdir, kind):
    """Wait until the run has written a line of this kind."""
    metrics = workdir / "metrics.jsonl"
    while not (metrics.exists() and f'"kind": "{kind}"' in metrics.read_text()):
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)


@pytest.mark.slow
def test_a_signal_saves_and_ends_the_run(tmp_path):
    """Ctrl-C in the warm start and SIGTERM in training, each followed by the same command."""
    workdir = tmp_path / "run"
    flags = tiny_flags(train__steps=100, warm_start__full_steps=100, evaluation__every=0, checkpoint__keep_best=0)
    command = (*COMMAND, f"--workdir={workdir}", f"--config.warm_start.cache_dir={tmp_path}", *flags)
    stops = ((signal.SIGINT, "warm_start", False, 0), (signal.SIGTERM, "train", True, 42))
    for number, kind, continued, code in stops:
        process = start(*command, f"--stopped-code={code}")
        wait_for(process, workdir, kind)
        process.send_signal(number)
        out, err = process.communicate()
        assert process.returncode == code, err
        assert ("continued at step" in out) == continued
        assert f"{number.name}: saved at step" in out
        assert "the same command continues" in out
        assert err.startswith(f"{number.name}: the newest finished step is saved, then the run ends. A second")
        assert err.count("\n") == 1
        assert not (workdir / "summary.json").exists()

    process = start(*command)
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert "continued at step" in out
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    for kind in ("warm_start", "train"):
        steps = [line["step"] for line in lines if line["kind"] == kind]
        assert steps == list(range(1, len(steps) + 1))
    assert steps[-1] == 100


@pytest.mark.slow
@pytest.mark.trap(41)
def test_the_tool_that_kills_and_resumes(tmp_path):
    flags = ("--config=configs/two_grpo.py", "--kills=2", "--seed=279", *tiny_flags())  # in both phases
    # A kill may leave a torn entry in the compilation cache, so new entries go into a directory of the test's own.
    for entry in Path(CACHE["JAX_COMPILATION_CACHE_DIR"]).glob("*"):
        (tmp_path / entry.name).symlink_to(entry)
    process = start("tools/kill_and_resume.py", *flags, JAX_COMPILATION_CACHE_DIR=str(tmp_path))
    out, err = process.communicate()
    assert process.returncode == 0, out + err
    assert out.count("kill ") == 2
    assert "arrays of the state are equal bit for bit" in out
    assert "lines of metrics are equal" in out
