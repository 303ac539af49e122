"""The list of runs, and the states of runs."""

import json
import os
from dataclasses import replace

import pytest

from grpo_jax.commands.runs import main
from grpo_jax.runs.directory import RunDirectory, runs_below
from grpo_jax.runs.provenance import FAILED, STOPPED, Code, Devices, Host, Provenance, Start
from grpo_jax.runs.record import RunRecord, write_record
from tests.helpers import evaluation_line, summary_of, train_line

START = Start(
    began="2026-01-31T12:00:00+00:00",
    ended=None,
    outcome=None,
    command="grpo train",
    code=Code("0.1.0", None, None, "0"),
    host=Host("one", 2, "Linux", 1),
    devices=Devices(["cpu"], 1),
    environment={},
    versions={},
)


def begin(path, outcome=None):
    """Begin a run of ten steps, each of which takes a second, and let it take three of them."""
    run = RunDirectory(path)
    run.create()
    run.write_json("config.json", {"train": {"steps": 10}, "evaluation": {"every": 2}})
    ended = "2026-01-31T13:00:00+00:00" if outcome else None
    write_record(run, RunRecord(None, Provenance([replace(START, outcome=outcome, ended=ended)], forked_from=None)))
    for step in (1, 2, 3):
        run.append_metrics(train_line(step))
        if step == 2:
            run.append_metrics(evaluation_line(step, 0.5))
    return run


@pytest.fixture
def runs(tmp_path):
    """A study's runs, one of which goes on, and runs in every other state."""
    for number in (2, 10):
        done = begin(tmp_path / "study" / "runs" / "pairs" / f"seed_{number}")
        done.write_summary(summary_of(0.1, 0.9, steps=10))
        done.close()
    goes_on = begin(tmp_path / "study" / "runs" / "pairs" / "seed_11")
    for name, outcome in (("stopped", STOPPED), ("broken", f"{FAILED}: E"), ("killed", None), ("damaged", None)):
        begin(tmp_path / name, outcome).close()
    (tmp_path / "damaged" / "provenance.json").write_text("{")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")  # of a language model
    yield tmp_path
    goes_on.close()


def listed(runs, capsys):
    assert main([str(runs), "--json"]) == 0
    return {os.path.relpath(one["run"], runs): one for one in json.loads(capsys.readouterr().out)}


def test_runs_have_their_states(runs, capsys):
    found = listed(runs, capsys)
    assert {run: one["condition"] for run, one in found.items()} == {
        "broken": "failed",
        "damaged": "damaged",
        "killed": "killed",
        "stopped": "stopped",
        "study/runs/pairs/seed_2": "finished",
        "study/runs/pairs/seed_10": "finished",
        "study/runs/pairs/seed_11": "running",
    }
    assert list(found)[-3:] == [f"study/runs/pairs/seed_{number}" for number in (2, 10, 11)]
    goes_on = found["study/runs/pairs/seed_11"]
    assert (goes_on["step"], goes_on["steps"], goes_on["seconds_left"]) == (3, 10, 7.0)
    assert goes_on["evaluated"] == {"split": "validation", "step": 2, "pass_at_1": [0.5, 0.4, 0.6]}
    done = found["study/runs/pairs/seed_2"]
    assert (done["step"], done["seconds_left"]) == (10, None)
    assert done["evaluated"]["split"] == "test"
    assert done["evaluated"]["pass_at_1"][0] == 0.9


def test_a_table_has_a_line_for_each_run_and_says_what_is_wrong(runs, capsys):
    assert main([str(runs)]) == 0
    header, *lines = capsys.readouterr().out.splitlines()
    assert header.split() == ["state", "step", "pass@1", "split", "left", "written", "run"]
    goes_on = next(line for line in lines if line.startswith("running"))
    assert goes_on.split()[:8] == ["running", "3", "of", "10", "0.500", "validation", "7", "s"]
    assert goes_on.endswith(str(runs / "study/runs/pairs/seed_11"))
    failed, damaged = lines[-2:]
    assert failed == f"{runs / 'broken'}: failed: E (2026-01-31T13:00:00+00:00)"
    assert damaged.startswith(f"{runs / 'damaged' / 'provenance.json'}: is damaged")


def test_only_the_end_of_the_metrics_is_read(tmp_path, capsys):
    """What lies before the steps that give the pace is no JSON here."""
    run = begin(tmp_path / "run")
    path = run.path / "metrics.jsonl"
    path.write_text("not read\n" + path.read_text())
    for step in range(4, 40):
        run.append_metrics(train_line(step))
    run.append_metrics(evaluation_line(39, 0.5))
    assert listed(tmp_path, capsys)["run"]["step"] == 39
    run.close()


def test_a_configuration_with_a_wrong_value_ends_no_table(tmp_path, capsys):
    run = begin(tmp_path / "run")
    run.close()
    values = run.read_json("config.json")
    run.write_json("config.json", {**values, "train": {**values["train"], "steps": "many"}})
    assert main([str(tmp_path)]) == 0
    assert "is damaged (ValueError(\"invalid literal for int() with base 10: 'many'\"))" in capsys.readouterr().out


def test_a_directory_that_vanishes_meanwhile_has_no_runs(tmp_path):
    assert list(runs_below(tmp_path / "removed")) == []


def test_where_there_are_no_runs(tmp_path, capsys):
    assert main([str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"{tmp_path}: there are no runs\n"
    assert main([str(tmp_path / "x")]) == 2
    assert capsys.readouterr().err == f"error: {tmp_path / 'x'}: no such directory; name one with runs in it.\n"
