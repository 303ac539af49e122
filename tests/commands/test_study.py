"""The command `study`: its messages, its exit codes, and a study with real runs."""

import json
import signal
import time

import pytest

from grpo_jax import studies
from grpo_jax.commands import study
from grpo_jax.studies import load_study
from grpo_jax.studies.runner import Outcome
from tests.helpers import start
from tests.studies.files import write

# The command with a report that costs nothing: this is a test of the runs.
LAUNCH = """
from grpo_jax import commands
from grpo_jax.reporting import study
study.write_study_report = lambda workdir: workdir / "report"
commands.run("study")
"""


@pytest.fixture
def main(monkeypatch):
    monkeypatch.setattr("grpo_jax.reporting.study.write_study_report", lambda workdir: workdir / "report")
    return study.main


def pretend(monkeypatch, *, failed=(), stopped=False):
    """Replace the runs by this outcome."""
    monkeypatch.setattr(studies, "run_study", lambda study, workdir, jobs, train: Outcome(tuple(failed), stopped))


def test_a_finished_study_is_reported(main, monkeypatch, tmp_path, capsys):
    pretend(monkeypatch)
    assert main([f"--study={write(tmp_path)}", f"--workdir={tmp_path}"]) == 0
    assert capsys.readouterr().out == f"report: {tmp_path / 'report'}\n"


def test_a_stopped_study_continues_with_the_same_command(main, monkeypatch, tmp_path, capsys):
    pretend(monkeypatch, stopped=True)
    assert main([f"--study={write(tmp_path)}", f"--workdir={tmp_path}"]) == 0
    assert capsys.readouterr().out == "stopped, and saved; the same command continues\n"


@pytest.mark.parametrize("stopped", [False, True])
def test_failed_runs_are_named(main, monkeypatch, tmp_path, capsys, stopped):
    first = next(load_study(write(tmp_path)).runs())
    pretend(monkeypatch, failed=[(first, "error: the reason")], stopped=stopped)
    assert main([f"--study={write(tmp_path)}", f"--workdir={tmp_path}"]) == 1
    out, err = capsys.readouterr()
    assert err == "error: 2-GRPO, seed 0: error: the reason\n"
    assert ("stopped, and saved" in out) == stopped


def test_a_mistake_creates_nothing(main, tmp_path, capsys):
    assert main([f"--study={write(tmp_path, baseline='x')}", f"--workdir={tmp_path / 'study'}"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"error: --study={tmp_path / 'tiny.py'}: baseline='x': is not an arm")
    assert err.count("\n") == 1
    assert not (tmp_path / "study").exists()


@pytest.mark.parametrize("jobs", ["0", "-1", "two"])
def test_jobs_must_be_some(jobs, main, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main([f"--study={write(tmp_path)}", f"--workdir={tmp_path}", f"--jobs={jobs}"])
    assert ended.value.code == 2
    assert "--jobs" in capsys.readouterr().err


def test_commands_are_printed_and_nothing_is_run(main, tmp_path, capsys):
    assert main([f"--study={write(tmp_path)}", f"--workdir={tmp_path / 'study'}", "--commands"]) == 0
    assert capsys.readouterr().out.count("-m grpo_jax train --config=") == 4
    assert [path.name for path in (tmp_path / "study").iterdir()] == ["study.json"]


@pytest.mark.slow
def test_a_study_is_stopped_and_continued(tmp_path):
    """A study of two arms: a finished run stays as it is, and a stopped one continues."""
    launch = tmp_path / "launch.py"
    launch.write_text(LAUNCH)
    path, workdir = write(tmp_path, seeds=(0,)), tmp_path / "study"
    flags = (str(launch), f"--study={path}", f"--workdir={workdir}", "--jobs=1")
    directories = [run.directory(workdir) for run in load_study(path).runs()]

    process = start(*flags, XDG_CACHE_HOME=str(tmp_path / "cache"))
    while not (directories[0] / "summary.json").exists() or not (directories[1] / "metrics.jsonl").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate()
    assert process.returncode == 0
    assert err.startswith("SIGTERM: the runs finish their steps and save")
    assert out.endswith("stopped, and saved; the same command continues\n")
    assert "G = 4, seed 0: stopped before its end" in out
    assert [(directory / "summary.json").exists() for directory in directories] == [True, False]
    first = {file: file.stat().st_mtime_ns for file in directories[0].rglob("*")}

    process = start(*flags, XDG_CACHE_HOME=str(tmp_path / "cache"))
    out, err = process.communicate()
    assert (process.returncode, err) == (0, "")
    assert out.startswith("2 runs, 2 arms x 1 seed: 1 finished;")
    ends = [line for line in out.splitlines() if "test pass@1" in line or "report" in line]
    assert [line.partition(":")[0] for line in ends] == ["G = 4, seed 0", "report"]
    assert {file: file.stat().st_mtime_ns for file in directories[0].rglob("*")} == first
    summaries = [json.loads((directory / "summary.json").read_text()) for directory in directories]
    assert [summary["prompts"] for summary in summaries] == [96, 96]
    assert [summary["rollouts"] for summary in summaries] == [192, 384]
    assert [summary["seed"] for summary in summaries] == [0, 0]
    # Arms of a seed are paired: one base policy, measured by the same samples.
    assert summaries[0]["base"] == summaries[1]["base"]
    # Only one run made the base policy.
    logs = [(workdir / "logs" / f"{slug}.log").read_text() for slug in ("2-grpo.seed_0", "g-=-4.seed_0")]
    assert ["base policy: taken from" in log for log in logs] == [False, True]
