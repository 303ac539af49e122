"""A step's numbers as TensorBoard events."""

import json

from grpo_jax.runs.directory import Phase, RunDirectory


def test_a_steps_numbers_are_one_event_and_one_line(tmp_path):
    directory = RunDirectory(tmp_path / "run", tensorboard=True)
    directory.create()
    directory.append_metrics(Phase.TRAIN, 1, {"kind": "train", "loss": 0.5, "grad_norm": float("nan"), "tokens": 3})
    directory.close()
    (events,) = (tmp_path / "run" / "tensorboard" / "train").iterdir()
    written = events.read_bytes()
    assert b"train/loss" in written
    assert b"train/tokens" in written
    assert b"grad_norm" not in written  # not a number has no place on a curve
    line = json.loads((tmp_path / "run" / "metrics.jsonl").read_text())
    assert line == {"phase": "train", "step": 1, "kind": "train", "loss": 0.5, "grad_norm": None, "tokens": 3}
