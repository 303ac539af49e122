"""The record of a judged group: what is written is what is read, whichever version wrote it."""

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest

from grpo_jax.config import ConfigError
from grpo_jax.rewards import UNSCORED, Verdict
from grpo_jax.runs.directory import RunDirectory
from grpo_jax.runs.groups import VERSION, Completion, JudgedGroup, TrainingCompletion, TrainingGroup, carries_signal

JUDGED = JudgedGroup(
    3254, "1+2=", "3", [Completion("3", 2, True, Verdict(1.0, "3", right=True)), Completion("1+", 3, False, UNSCORED)]
)
TRAINED = TrainingGroup(
    3254,
    "1+2=",
    "3",
    [
        TrainingCompletion("3", 2, True, Verdict(1.0, "3", right=True), 0.5, -0.75, [5, 0], [-0.5, -0.25]),
        TrainingCompletion("1+", 2, False, UNSCORED, 0.0, -1.0, [3, 9], [-0.5, -0.5]),
        TrainingCompletion("4", 2, True, Verdict(0.25, "4"), -0.5, -1.5, [6, 0], [-1.0, -0.5]),
    ],
    step=7,
    chosen=False,
    expected=0.375,
    policy_step=5,
    weight=0.5,
    evidence=3.25,
)

# As commit e597795 wrote them.
EVALUATION = (
    '{"id": 9, "prompt": "1+2=", "gold": "3", "completions": ["3", "1+"], "rewards": [1.0, 0.0], '
    '"answers": ["3", null], "right": [true, null], "scored": [true, false], "lengths": [2, 3], '
    '"stop_reasons": ["stop", "length"]}'
)
TRAINING = (
    '{"phase": "train", "step": 7, "id": 9, "prompt": "1+2=", "gold": "3", "completions": ["3", "1+"], '
    '"answers": ["3", null], "rewards": [1.0, null], "right": [true, null], "stop_reasons": ["stop", "length"], '
    '"lengths": [2, 2], "logprobs": [-0.75, -1.0], "tokens": [[5, 0], [3, 9]], '
    '"token_logprobs": [[-0.5, -0.25], [-0.5, -0.5]], "advantages": [0.5, 0.0], "chosen": false}'
)
# Before verdicts, tokens, answers and resampling were written down.
EARLIEST = (
    '{"phase": "train", "step": 7, "id": 9, "prompt": "1+2=", "gold": "3", "completions": ["3", "4", "1+"], '
    '"rewards": [1.0, 0.25, null], "stop_reasons": ["stop", "stop", "length"], "lengths": [2, 2, 2], '
    '"logprobs": [-0.75, -1.5, -1.0], "advantages": [0.5, -0.5, 0.0]}'
)


@pytest.mark.parametrize("group", [JUDGED, TRAINED])
def test_what_is_written_is_what_is_read(group):
    line = json.loads(json.dumps(group.to_json()))
    assert line["version"] == VERSION
    assert type(group).from_json(line) == group


def test_the_files_of_a_run(tmp_path):
    directory = RunDirectory(tmp_path)
    directory.create()
    directory.append_rollouts(7, [TRAINED, TRAINED])
    directory.write_evaluation("000007_test", [JUDGED])
    directory.close()
    assert list(RunDirectory(tmp_path).rollouts()) == [TRAINED, TRAINED]
    assert list(RunDirectory(tmp_path).evaluation("000007_test")) == [JUDGED]


def test_an_evaluation_of_an_earlier_version():
    group = JudgedGroup.from_json(json.loads(EVALUATION))
    assert group == dataclasses.replace(JUDGED, id=9)
    # Nothing else is written today, except that the reward of a completion without a verdict is null, as in rollouts.
    assert {**json.loads(EVALUATION), "version": VERSION, "rewards": [1.0, None]} == group.to_json()


def test_a_group_of_training_of_an_earlier_version():
    line = json.loads(TRAINING)
    group = TrainingGroup.from_json(line)
    completions = TRAINED.completions[:2]
    assert group == dataclasses.replace(
        TRAINED, id=9, completions=completions, expected=None, policy_step=6, weight=1, evidence=None
    )
    added = {
        "version": VERSION,
        "scored": [True, False],
        "expected": None,
        "policy_step": 6,
        "weight": 1.0,
        "evidence": None,
    }
    assert {**line, **added} == {"phase": "train", **group.to_json()}


def test_what_the_earliest_versions_did_not_write():
    group = TrainingGroup.from_json(json.loads(EARLIEST))
    assert [one.verdict.right for one in group.completions] == [True, False, False]
    assert [one.reward for one in group.completions] == [1.0, 0.25, None]
    assert [one.stop_reason for one in group.completions] == ["stop", "stop", "length"]
    assert {(one.tokens, one.token_logprobs, one.verdict.answer) for one in group.completions} == {(None, None, None)}
    assert group.chosen
    assert group.signal


def test_a_newer_version_is_refused(tmp_path):
    line = json.dumps(TRAINED.to_json() | {"version": VERSION + 1})
    (tmp_path / "rollouts").mkdir()
    (tmp_path / "rollouts" / "000001.jsonl").write_text(f"{line}\n")
    sentence = f"000001.jsonl: a line has version {VERSION + 1}, and this grpo_jax reads versions up to {VERSION}; "
    with pytest.raises(ConfigError, match=sentence):
        list(RunDirectory(tmp_path).rollouts())


@pytest.mark.parametrize("change", [{"lengths": [2]}, {"right": None}, {"completions": "3"}, {"version": "x"}])
def test_what_is_not_such_a_line_is_reported(change, tmp_path):
    (tmp_path / "rollouts").mkdir()
    (tmp_path / "rollouts" / "000001.jsonl").write_text(f"{json.dumps(TRAINED.to_json() | change)}\n")
    with pytest.raises(ConfigError, match=r"000001\.jsonl: a line is damaged \("):
        list(RunDirectory(tmp_path).rollouts())


def test_a_reward_that_is_not_a_number_is_none(tmp_path):
    """As in training, which leaves such a completion out."""
    broken = dataclasses.replace(TRAINED.completions[0], verdict=Verdict(float("nan"), "3", right=True))
    directory = RunDirectory(tmp_path)
    directory.create()
    directory.append_rollouts(7, [dataclasses.replace(TRAINED, completions=[broken])])
    directory.close()
    (group,) = RunDirectory(tmp_path).rollouts()
    assert not group.completions[0].verdict.scored


def test_signal_is_an_advantage():
    assert carries_signal(np.array([[0.0, 0.0], [0.0, -1e-6], [1.0, 1.0]])).tolist() == [False, True, True]
    assert TRAINED.signal
    even = [dataclasses.replace(one, advantage=0.0) for one in TRAINED.completions]
    assert not dataclasses.replace(TRAINED, completions=even).signal


def test_reading_needs_no_jax():
    code = "import sys, grpo_jax.runs.directory; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
