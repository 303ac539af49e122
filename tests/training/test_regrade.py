"""Completions judged again, and what the run's objective makes of the verdicts."""

import json
import zlib

import numpy as np
import pytest

from grpo_jax.data.tasks import ModularExpressions
from grpo_jax.rewards import UNSCORED, PerAttempt, Verdict
from grpo_jax.rewards.verdict import Unscorable
from grpo_jax.runs.groups import TrainingCompletion, TrainingGroup
from grpo_jax.training.regrade import Tally, kind, regrade
from grpo_jax.training.statistics import rollout_statistics, training_groups
from tests.helpers import make_config
from tests.training.test_collect import collected


def group(step, completions, rewards, *, right=None, prompt="2+3=", gold="5"):
    """As a run of 2-GRPO writes it."""
    right = [reward == 1 for reward in rewards] if right is None else right
    scored = [reward for reward in rewards if reward is not None]
    spread = len(scored) == 2 and scored[0] != scored[1]
    rollouts = [
        TrainingCompletion(
            text,
            len(text) + 1,
            text != "cut",
            UNSCORED if reward is None else Verdict(reward, text, right=known),
            advantage=float(np.sign(reward - min(scored) - 1e-9)) if spread else 0.0,
            logprob=-1.0,
            tokens=None,
            token_logprobs=None,
        )
        for text, reward, known in zip(completions, rewards, right, strict=True)
    ]
    return TrainingGroup(7, prompt, gold, rollouts, step=step, chosen=True, expected=0.5, policy_step=step - 1)


GROUPS = [
    group(1, ["5", "4"], [1.0, 0.0]),
    group(1, ["05", "5"], [0.0, 1.0]),
    group(2, ["six", "cut"], [None, 0.0]),
    group(2, ["4", "4"], [0.0, 0.0]),
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


def judged(function, groups=GROUPS, keep=10, objective="two_grpo"):
    return regrade(groups, PerAttempt("test", function), make_config(objective__name=objective), keep=keep)


def test_the_same_reward_changes_nothing():
    found = judged(by_text)
    assert (found.completions, found.verdicts, found.changed_rewards, found.differing) == (8, 0, 0, [])
    assert found.steps == {
        1: (Tally(right=2, judged=4, unscored=0, signal=2, groups=2),) * 2,
        2: (Tally(right=0, judged=3, unscored=1, signal=0, groups=2),) * 2,
    }


def test_another_reward_changes_what_it_sees_otherwise():
    found = judged(by_value)
    assert found.changes == {("wrong", "right"): 1, ("unscored", "wrong"): 1, ("wrong", "unscored"): 1}
    assert found.verdicts == found.changed_rewards == 3
    assert found.steps[1][1] == Tally(right=3, judged=4, unscored=0, signal=1, groups=2)  # both are right now
    assert found.steps[2][1] == Tally(right=0, judged=3, unscored=1, signal=0, groups=2)
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
        lambda attempt: Verdict(by_text(attempt).reward - 0.1 * attempt.tokens, None, right=False), GROUPS[3:]
    )
    assert (found.verdicts, found.changed_rewards) == (0, 2)
    right = judged(lambda attempt: Verdict(0.5, None, right=attempt.completion == "5"), GROUPS[:1])
    assert (right.verdicts, right.changed_rewards) == (0, 2)
    assert right.steps[1] == (Tally(right=1, judged=2, signal=1, groups=1), Tally(right=1, judged=2, groups=1))


@pytest.mark.parametrize(("tolerance", "signal"), [(0.1, 1), (0.3, 0)])
def test_signal_is_by_the_run_s_tolerance(tolerance, signal):
    halves = PerAttempt("halves", lambda attempt: Verdict(0.5 * by_text(attempt).reward + 0.25, None))
    config = make_config(objective__no_signal_tolerance=tolerance * 2)
    assert regrade(GROUPS[:1], halves, config, keep=1).steps[1][1].signal == signal


def test_the_objective_says_what_carries_signal():
    """PSR learns from whatever is right, REINFORCE++ from every group of a step whose rewards are not all the same."""
    groups = [group(1, ["5", "5"], [1.0, 1.0]), group(1, ["4", "4"], [0.0, 0.0]), group(2, ["4", "4"], [0.0, 0.0])]
    signal = {"two_grpo": [0, 0], "psr": [1, 0], "nsr": [1, 1], "reinforce_pp": [2, 0]}
    for objective, expected in signal.items():
        found = judged(by_text, groups, objective=objective)
        assert [now.signal for _, now in found.steps.values()] == expected, objective


def test_what_was_replaced_has_no_part_in_the_others_signal():
    """Eight groups make up the step, and their rewards are all the same; the ninth was left out of it, as it is one."""
    groups = [group(1, ["5", "5"], [1.0, 1.0])] * 8 + [group(1, ["4", "4"], [0.0, 0.0])]
    assert judged(by_text, groups, objective="reinforce_pp").steps[1][1].signal == 0


def test_what_is_asked_is_what_was_written_down():
    seen = []

    def listening(attempt):
        seen.append(attempt)
        return by_value(attempt)

    judged(listening, [group(1, ["55", "cut"], [0.0, 0.0], prompt="1+1=", gold="2")])
    assert [(a.prompt, a.gold, a.completion, a.stopped, a.tokens) for a in seen] == [
        ("1+1=", "2", "55", True, 3), ("1+1=", "2", "cut", False, 4)
    ]  # fmt: skip


def test_kinds():
    (one,) = group(1, ["5"], [1.0]).completions
    (wrong,) = group(1, ["5"], [1.0], right=[False]).completions
    (unscored,) = group(1, ["5"], [None]).completions
    (undecided,) = group(1, ["5"], [1.0], right=[None]).completions
    kinds = [kind(completion) for completion in (one, wrong, unscored, undecided)]
    assert kinds == ["right", "wrong", "unscored", "undecided"]


def test_tallies_add_up():
    assert Tally(1, 2, 3, 4, 5) + Tally(10, 20, 30, 40, 50) == Tally(11, 22, 33, 44, 55)


def by_coin(attempt):
    """Half of the completions of a policy that has learned nothing are right."""
    right = zlib.crc32(f"{attempt.prompt} {attempt.completion}".encode()) % 2 == 0
    return Verdict(float(right), attempt.completion, right=right)


RESAMPLED = {"rollout__prompts_per_batch": 4, "rollout__max_rollouts": 128}


@pytest.mark.parametrize(
    ("objective", "changes"),
    [
        ("two_grpo", {}),
        ("two_grpo", RESAMPLED),
        ("psr", {}),
        ("psr", RESAMPLED),
        ("reinforce_pp", {}),
        ("reinforce_pp", RESAMPLED),
    ],
)
def test_unchanged_verdicts_have_the_signal_that_the_run_logs(objective, changes, monkeypatch):
    """Also where the objective learns from groups that are all right, and where groups were replaced."""
    reward = PerAttempt("coin", by_coin)
    monkeypatch.setattr(ModularExpressions, "reward", property(lambda self: reward))
    changes = {"objective__name": objective, "rollout__prompts_per_step": 16, **changes}
    found = collected.__wrapped__(**changes)
    groups = [TrainingGroup.from_json(json.loads(json.dumps(one.to_json()))) for one in training_groups(found, 1)]
    regraded = regrade(groups, reward, make_config(**changes), keep=1)
    share = rollout_statistics(found, 1).signal_share
    unlike = float(np.mean(np.ptp(found.outcomes.rewards, axis=1) > 0))
    assert 0 < unlike < 1
    from_all_alike = objective == "psr" or (objective == "reinforce_pp" and found.chosen.all())
    assert share > unlike if from_all_alike else share == unlike
    assert ("rollout__max_rollouts" in changes) == (not found.chosen.all())
    assert regraded.changed_rewards == 0
    for tally in regraded.steps[1]:
        assert tally.signal / tally.groups == share
