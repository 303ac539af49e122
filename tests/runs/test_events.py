"""A step's numbers as TensorBoard events."""

import json

import pytest
from tensorboardX import record_writer

from grpo_jax.runs.directory import RunDirectory
from tests.helpers import evaluation_line, train_line


def test_a_steps_numbers_are_one_event_and_one_line(tmp_path):
    directory = RunDirectory(tmp_path / "run", tensorboard=True)
    directory.create()
    directory.append_metrics(train_line(7, {"tokens": 3}, measured={"loss": 0.5, "grad_norm": float("nan")}))
    directory.append_metrics(evaluation_line(7, 0.5, "TEST"))
    directory.close()
    (events,) = (tmp_path / "run" / "tensorboard" / "train").iterdir()
    written = events.read_bytes()
    assert b"train/loss" in written
    assert b"train/tokens" in written
    assert b"train/step" not in written  # it is the place on the curve
    assert b"evaluation_test/mean_length" in written
    assert b"grad_norm" not in written  # not a number has no place on a curve
    line, _ = map(json.loads, (tmp_path / "run" / "metrics.jsonl").read_text().splitlines())
    expected = {"phase": "train", "step": 7, "kind": "train", "loss": 0.5, "grad_norm": None, "tokens": 3}
    assert {name: line[name] for name in expected} == expected


def test_a_full_disk_is_an_error_and_nothing_waits(tmp_path, monkeypatch):
    monkeypatch.setattr(record_writer, "open_file", lambda path: open("/dev/full", "wb"))  # noqa: SIM115
    directory = RunDirectory(tmp_path / "run", tensorboard=True)
    directory.create()

    def write():
        for step in range(1, 100):  # more events than a buffer holds
            directory.append_metrics(train_line(step))

    with pytest.raises(OSError, match="No space left on device"):
        write()
    with pytest.raises(OSError, match="No space left on device"):
        directory.close()
    assert not directory.locked
    directory.close()
