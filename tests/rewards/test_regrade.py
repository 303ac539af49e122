"""Completions judged again, from the lines that a run has written."""

import pytest

from grpo_jax.rewards import PerAttempt, Verdict
from grpo_jax.rewards.per_attempt import Unscorable
from grpo_jax.rewards.regrade import Grade, Tally, regrade


def line(step, completions, rewards, *, right=None, prompt="2+3=", gold="5"):
    return {
        "phase": "train",
        "step": step,
        "id": 7,
        "prompt": prompt,
        "gold": gold,
        "completions": completions,
        "answers": completions,
        "rewards": rewards,
        "right": [None if reward is None else reward == 1 for reward in rewards] if right is None else right,
        "stop_reasons": ["stop" if text != "cut" else "length" for text in completions],
        "lengths": [len(text) + 1 for text in completions],
    }


GROUPS = [
    line(1, ["5", "4"], [1.0, 0.0]),
    line(1, ["05", "5"], [0.0, 1.0]),
    line(2, ["six", "cut"], [None, 0.0]),
    line(2, ["4", "4"], [0.0, 0.0]),
]


def by_text(attempt):
    right = attempt.completion == attempt.gold
    if attempt.completion == "six":
        raise Unscorable("no_number")
    return Verdict(float(right), attempt.completion, right=right)


def by_value(attempt):
    """As before, but 05 is right, six is wrong, and what was cut off is unscored."""
    if not attempt.stopped:
        raise Unscorable("cut")
    right = attempt.completion in ("5", "05")
    return Verdict(float(right), attempt.completion, right=right)


def judged(function, groups=GROUPS, tolerance=1e-6, keep=10):
    return regrade(groups, PerAttempt("test", function), tolerance=tolerance, keep=keep)


def test_the_same_reward_changes_nothing():
    found = judged(by_text)
    assert (found.completions, found.verdicts, found.rewards, found.differing) == (8, 0, 0, [])
    assert found.steps == {
        1: (Tally(right=2, scored=4, unscored=0, signal=2, groups=2),) * 2,
        2: (Tally(right=0, scored=3, unscored=1, signal=0, groups=2),) * 2,
    }


def test_another_reward_changes_what_it_sees_otherwise():
    found = judged(by_value)
    assert found.changes == {("wrong", "right"): 1, ("unscored", "wrong"): 1, ("wrong", "unscored"): 1}
    assert found.verdicts == found.rewards == 3
    assert found.steps[1][1] == Tally(right=3, scored=4, unscored=0, signal=1, groups=2)  # both are right now
    assert found.steps[2][1] == Tally(right=0, scored=3, unscored=1, signal=0, groups=2)
    assert [(one["step"], one["sample"], one["completion"]) for one in found.differing] == [
        (1, 0, "05"), (2, 0, "six"), (2, 1, "cut")
    ]  # fmt: skip
    assert found.differing[0]["then"] == {"verdict": "wrong", "reward": 0.0, "answer": "05"}
    assert found.differing[0]["now"] == {"verdict": "right", "reward": 1.0, "answer": "05"}


def test_only_the_first_of_them_are_kept():
    found = judged(by_value, keep=2)
    assert [one["completion"] for one in found.differing] == ["05", "six"]
    assert found.verdicts == 3


def test_another_reward_is_not_yet_another_verdict():
    """A sum with a term for length, say: then rewards may spread where they did not."""
    found = judged(
        lambda attempt: Verdict(by_text(attempt).reward - 0.1 * attempt.tokens, None, right=None), GROUPS[3:]
    )
    assert (found.verdicts, found.rewards) == (0, 2)
    right = judged(lambda attempt: Verdict(0.5, None, right=attempt.completion == "5"), GROUPS[:1])
    assert (right.verdicts, right.rewards) == (0, 2)
    assert right.steps[1] == (Tally(right=1, scored=2, signal=1, groups=1), Tally(right=1, scored=2, groups=1))


@pytest.mark.parametrize(("tolerance", "signal"), [(0.1, 1), (0.3, 0)])
def test_signal_is_by_the_tolerance(tolerance, signal):
    found = judged(by_text, [line(1, ["5", "4"], [0.5, 0.25], right=[True, False])], tolerance)
    assert found.steps[1][0].signal == signal


def test_lines_of_an_earlier_version_say_what_is_right_by_the_reward():
    groups = [{name: value for name, value in group.items() if name != "right"} for group in GROUPS]
    assert judged(by_text, groups).verdicts == 0


def test_what_is_asked_is_what_was_written_down():
    seen = []

    def listening(attempt):
        seen.append(attempt)
        return by_value(attempt)

    judged(listening, [line(1, ["55", "cut"], [0.0, 0.0], prompt="1+1=", gold="2")])
    assert [(a.prompt, a.gold, a.completion, a.stopped, a.tokens) for a in seen] == [
        ("1+1=", "2", "55", True, 3), ("1+1=", "2", "cut", False, 4)
    ]  # fmt: skip


def test_kinds():
    assert [Grade(*of, None).kind for of in ((1.0, True), (1.0, False), (None, True))] == ["right", "wrong", "unscored"]


def test_tallies_add_up():
    assert Tally(1, 2, 3, 4, 5) + Tally(10, 20, 30, 40, 50) == Tally(11, 22, 33, 44, 55)
