"""A run directory is taken back to a step by looking at the ends of its files alone."""

import dataclasses
import json
import os
import random

import pytest

from grpo_jax.runs import directory as module
from grpo_jax.runs.directory import RunDirectory
from grpo_jax.runs.groups import TrainingGroup
from grpo_jax.runs.lines import UNKNOWN, EvaluationLine, Scores, Share, Stage
from tests.helpers import train_line

SCORES = Scores([Share(0.5, 0.25, 0.75)], Share(0.5, 0.25, 0.75), Share(0.5, 0.25, 0.75), 0.5, 2.0, 0.0, 0, 8)


def written(lines):
    return "".join(f"{json.dumps(line)}\n" for line in lines)


@pytest.mark.parametrize("block", [1, 7, 64, 1 << 20])
def test_what_is_left_is_what_was_before(tmp_path, monkeypatch, block):
    monkeypatch.setattr(module, "BLOCK", block)
    rng, path = random.Random(block), tmp_path / "metrics.jsonl"
    for _ in range(60):
        stages = rng.sample(list(Stage), 2)  # in any order, because a lost base policy may have been made again
        lines = [
            {"phase": stage, "step": step, "text": "x" * rng.randrange(20)}
            for stage in stages
            for step in sorted(rng.choices(range(6), k=rng.randrange(6)))
        ]
        stage, step = rng.choice(stages), rng.randrange(6)
        path.write_text(written(lines) + rng.choice(["", '{"phase": "tr']))
        RunDirectory(tmp_path).rewind(stage, step)
        kept = [line for line in lines if line["phase"] != stage or line["step"] <= step]
        assert (path.read_text() if path.exists() else "") == written(kept)


def test_what_is_older_is_not_read(tmp_path):
    """So the age of a run does not matter. What is not read here is no JSON."""
    run = RunDirectory(tmp_path)
    run.create()
    for step in (100, 150, 151, 900_150, 1_000_150):
        run.append_rollouts(step, [TrainingGroup(1, "1+2=", "3", [], step, True, None, step - 1)] * 2)
    files = {path.stem: path for path in (tmp_path / "rollouts").iterdir()}
    assert files.keys() == {"000001", "000101", "900101", "1000101"}
    for stem in ("000001", "000101"):
        files[stem].write_text(f"older\n{files[stem].read_text()}")
    files["000001"].write_text("all of it")
    first, second, *_ = files["000101"].read_text().splitlines(keepends=True)[1:]
    (tmp_path / "rollouts" / "notes.jsonl").write_text("mine")
    run.rewind(Stage.TRAIN, 900_150)
    assert [path.exists() for path in (files["900101"], files["1000101"])] == [True, False]
    run.rewind(Stage.TRAIN, 150)
    run.close()
    assert files["000101"].read_text() == f"older\n{first}{second}"
    assert files["000001"].read_text() == "all of it"
    assert not files["900101"].exists()


def test_lines_that_are_lost_are_told(tmp_path, caplog):
    """As after a crash of the machine, if a checkpoint was on the disk before the lines of its steps."""
    run = RunDirectory(tmp_path)
    run.create()
    for step in (1, 2, 3):
        run.append_metrics(train_line(step))
    run.rewind(Stage.TRAIN, 3)
    run.close()
    assert not caplog.records
    run.rewind(Stage.TRAIN, 5)
    assert "metrics.jsonl: has no lines of the steps from 4 to 5, and they are not computed again" in caplog.text
    (tmp_path / "metrics.jsonl").unlink()
    run.rewind(Stage.TRAIN, 2)
    assert "the steps from 1 to 2" in caplog.text


def test_what_is_on_the_disk(tmp_path, monkeypatch):
    """Each file once, whether lines were appended or it was written whole."""
    synced = []
    monkeypatch.setattr(module.os, "fsync", lambda number: synced.append(os.readlink(f"/proc/self/fd/{number}")))
    run = RunDirectory(tmp_path)
    run.create()
    run.append_metrics(train_line(1))
    run.append_rollouts(1, [TrainingGroup(1, "1+2=", "3", [], 1, True, None, 0)])
    run.write_evaluation("000001_test", [])
    run.append_metrics(train_line(2))
    run.sync()
    run.sync()
    run.close()
    names = ["evaluation/000001_test.jsonl", "metrics.jsonl", "rollouts/000001.jsonl"]
    assert synced == [str(tmp_path / name) for name in names]
    run.append_metrics(train_line(3))
    (tmp_path / "metrics.jsonl").rename(tmp_path / "elsewhere")
    run.sync()


def test_evaluations_of_the_newest_step(tmp_path):
    run = RunDirectory(tmp_path)
    assert run.evaluated(0) == {}
    run.create()
    for line in (
        EvaluationLine(1, "TEST", SCORES),
        train_line(2),
        EvaluationLine(2, "TEST", SCORES),
        EvaluationLine(2, "VALIDATION", dataclasses.replace(SCORES, pass_at=[UNKNOWN])),
    ):
        run.append_metrics(line)
    run.close()
    assert run.evaluated(2) == {"TEST": SCORES.pass_at[0].value, "VALIDATION": None}
    run.rewind(Stage.TRAIN, 1)
    assert run.evaluated(1) == {"TEST": SCORES.pass_at[0].value}
