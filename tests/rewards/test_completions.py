"""Whole completions whose author had seen neither the rules nor the code; docs/evaluation.md has what they showed."""

import json
from pathlib import Path

from grpo_jax.rewards import Attempt, make_reward
from tests.rewards.helpers import make_config

CASES = [
    json.loads(line) for line in (Path(__file__).parent / "completions.jsonl").read_text(encoding="utf-8").splitlines()
]


def test_completions_are_judged_as_labelled():
    reward = make_reward(make_config(terms={"mathematics": 1.0}), 512)
    verdicts = reward.judge([Attempt(one["question"], one["gold"], one["completion"], True, 9) for one in CASES])
    reward.close()
    assert all(verdict.scored for verdict in verdicts)
    otherwise = [
        (one["kind"], one["label"])
        for one, verdict in zip(CASES, verdicts, strict=True)
        if (verdict.reward > 0.5) != (one["label"] == "right")
    ]
    assert not [one for one in otherwise if one[1] == "wrong"]  # no wrong answer is called right
    assert len(otherwise) <= 5
