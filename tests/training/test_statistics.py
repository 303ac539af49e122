"""The statistics of a batch of rollouts, and the part of it that is written down."""

import dataclasses
import json
from functools import reduce

import jax
import numpy as np
import pytest

from grpo_jax.objectives import Outcomes
from grpo_jax.rewards import UNSCORED, Verdict
from grpo_jax.runs.groups import Completion, JudgedGroup
from grpo_jax.training.collect import Collected
from grpo_jax.training.metrics import EffectiveShare, Last, Maximum, Mean, OfFirstMinibatch, empty, merge, results
from grpo_jax.training.statistics import rollout_statistics, training_groups
from grpo_jax.types import Rollouts, StopReason


def collected_of(rewards, scored=None):
    rewards = np.asarray(rewards, np.float32)
    n, g = rewards.shape
    scored = np.ones((n, g), bool) if scored is None else np.asarray(scored)
    rollouts = Rollouts(
        prompt_tokens=np.zeros((n, 2), np.int32),
        prompt_lengths=np.full(n, 2, np.int32),
        completion_tokens=np.zeros((n, g, 3), np.int32),
        completion_lengths=np.full((n, g), 2, np.int32),
        logprobs=np.tile(np.array([-0.5, -1.5, 0.0], np.float32), (n, g, 1)),
        stop_reasons=np.full((n, g), StopReason.STOP),
    )
    spread = np.where(scored, rewards, -np.inf).max(1) - np.where(scored, rewards, np.inf).min(1)
    return Collected(
        judged=[
            JudgedGroup(
                7, "1+1", "2", [Completion("", 2, True, Verdict(float(r), None, right=bool(r == 1))) for r in row]
            )
            for row in rewards
        ],
        rollouts=rollouts,
        outcomes=Outcomes(
            rewards=rewards,
            scored=scored,
            lengths=rollouts.completion_lengths,
            expected=np.full(n, 0.5, np.float32),
            evidence=np.full(n, 2.0, np.float32),
            success=np.full(n, 0.5, np.float32),
        ),
        advantages=np.where(spread[:, None] > 0, rewards - 0.5, 0.0),
        chosen=np.ones(n, bool),
        prompt_weights=np.ones(n, np.float32),
        consumed=n,
        version=2,
    )


def with_completions(group, changes):
    completions = [dataclasses.replace(one, **each) for one, each in zip(group.completions, changes, strict=True)]
    return dataclasses.replace(group, completions=completions)


def statistics(rewards, scored=None, chosen=None):
    collected = collected_of(rewards, scored)
    return rollout_statistics(
        collected if chosen is None else dataclasses.replace(collected, chosen=np.asarray(chosen)), 3
    )


def test_what_is_written_down_ends_where_a_completion_does():
    """Tokens and their log-probabilities, as plain values; padding is no part of them."""
    collected = collected_of([[1, 0]])
    tokens = np.array([[[5, 6, 9], [7, 0, 9]]], np.int32)
    (judged,) = collected.judged
    collected = dataclasses.replace(
        collected,
        judged=[with_completions(judged, [{"length": 2}, {"length": 1}])],
        rollouts=dataclasses.replace(collected.rollouts, completion_tokens=tokens),
    )
    (group,) = training_groups(collected, 3)
    assert (group.id, group.prompt, group.gold, group.step, group.chosen, group.expected, group.policy_step) == (
        7, "1+1", "2", 3, True, 0.5, 2
    )  # fmt: skip
    first, second = group.completions
    assert (first.tokens, second.tokens) == ([5, 6], [7])
    assert (first.token_logprobs, second.token_logprobs) == ([-0.5, -1.5], [-0.5])
    assert (first.logprob, second.logprob) == (-2.0, -2.0)
    assert (first.advantage, second.advantage) == (0.5, -0.5)
    line = group.to_json()
    assert json.loads(json.dumps(line)) == line


@pytest.mark.parametrize("group_size", [2, 3, 16])
def test_the_bound_is_the_expected_share_at_equal_difficulty(group_size):
    rewards = np.random.default_rng(0).random((20_000, group_size)) < 0.3
    found = statistics(rewards)
    assert found.signal_share == pytest.approx(found.signal_share_bound, abs=0.01)


def test_groups_are_told_apart():
    rewards = [[1, 1], [0, 0], [1, 0], [0, 1]]
    found = statistics(rewards, scored=[[True, True], [True, True], [True, True], [True, False]])
    assert found.reward == pytest.approx(3 / 7)
    assert found.signal_share == found.all_right == found.all_wrong == found.unjudged == 0.25
    assert found.unscored == 1
    assert found.replaced == found.surplus == 0
    assert found.entropy == 1.0  # two nats over two tokens


def test_nothing_is_known_of_what_is_right_if_the_reward_does_not_say():
    """Not even that a group without signal is all wrong. What depends on rewards alone is known."""
    collected = collected_of([[1, 1], [0, 0], [1, 0], [0, 0]], scored=[[True, True]] * 3 + [[False, False]])
    unsaid = [[Verdict(float(r), None) for r in row] for row in ([1, 1], [0, 0], [1, 0], [0, 0])]
    unsaid[3] = [UNSCORED, UNSCORED]

    def of(verdicts):
        judged = [
            with_completions(group, [{"verdict": one} for one in row])
            for group, row in zip(collected.judged, verdicts, strict=True)
        ]
        return rollout_statistics(dataclasses.replace(collected, judged=judged), 3)

    found = of(unsaid)
    shares = found.accuracy, found.signal_share_bound, found.signal_share_expected, found.all_right, found.all_wrong
    assert np.isnan(shares).all()
    assert (found.signal_share, found.unjudged, found.unscored) == (0.25, 0.25, 2)
    said = of([[Verdict(1.0, None, right=True), Verdict(1.0, None)], *unsaid[1:]])
    assert (said.accuracy, said.all_right, said.all_wrong) == (1.0, 0.0, 0.25)


def test_a_weighted_reward_is_not_the_accuracy():
    found = statistics([[1.0, 0.2], [0.2, 0.2]])
    assert found.accuracy == 0.25
    assert found.reward == pytest.approx(0.4)
    assert found.all_wrong == 0.5
    assert found.signal_share_bound == pytest.approx(2 * 0.25 * 0.75)


@pytest.mark.trap(6)
def test_only_the_stop_reason_tells_a_truncated_completion():
    collected = collected_of([[1, 0]])
    rollouts = dataclasses.replace(collected.rollouts, completion_lengths=np.array([[3, 3]]))  # as long as may be
    for reasons, share in (([StopReason.STOP, StopReason.STOP], 0.0), ([StopReason.STOP, StopReason.LENGTH], 0.5)):
        seen = dataclasses.replace(collected, rollouts=dataclasses.replace(rollouts, stop_reasons=np.array([reasons])))
        assert rollout_statistics(seen, 3).truncated_share == share


@pytest.mark.trap(15)
def test_what_resampling_did_is_counted():
    found = statistics([[1, 1], [0, 1], [0, 0], [1, 0], [1, 0]], chosen=[False, True, True, True, False])
    assert found.replaced == 1  # the other one without signal stays in the step
    assert found.surplus == 1


def test_the_sampler_is_compared_with_the_policy_that_sampled():
    """Later minibatches are scored by a policy that earlier ones have changed."""
    one = np.float32(1)
    first = {"loss": Mean(one, one), "sampler_difference/mean": OfFirstMinibatch(Mean(1e-6 * one, one))}
    second = {"loss": Mean(3 * one, one), "sampler_difference/mean": OfFirstMinibatch(Mean(0.5 * one, one))}
    assert results([first, second]) == {"loss": 2.0, "sampler_difference/mean": pytest.approx(1e-6)}


def of_kinds(*values):
    """A metric of each kind, of as many equal weights."""
    mean = Mean(np.float32(sum(values)), np.float32(len(values)))
    squares = Mean(np.float32(sum(value**2 for value in values)), np.float32(len(values)))
    return {
        "mean": mean,
        "maximum": Maximum(np.float32(max(values))),
        "last": Last(np.int32(values[-1])),
        "share": EffectiveShare(mean, squares),
        "first": OfFirstMinibatch(mean),
        "first/maximum": OfFirstMinibatch(Maximum(np.float32(max(values)))),
    }


def test_metrics_are_merged_by_their_types():
    """Over the micro-batches of a minibatch, on the devices, and over the minibatches of a step, on the host."""
    parts = [of_kinds(-3, -4), of_kinds(-1), of_kinds(-2)]
    # Beginning with nothing, which shapes are enough for: so does the update.
    merged = jax.jit(lambda *parts: reduce(merge, parts, empty(jax.eval_shape(lambda: parts[0]))))(*parts)
    assert results([jax.device_get(merged)]) == {
        "mean": -2.5,
        "maximum": -1.0,
        "last": -2.0,
        "share": pytest.approx(100 / (4 * 30)),
        "first": -2.5,
        "first/maximum": -1.0,
    }
    of_step = {"mean": -2.5, "maximum": -1.0, "last": -2.0, "share": pytest.approx(100 / (4 * 30))}
    assert results(parts) == {**of_step, "first": -3.5, "first/maximum": -3.0}


def test_a_mean_without_weight_is_no_number():
    assert np.isnan(results([{"mean": Mean(np.float32(0), np.float32(0))}])["mean"])
    assert results([]) == {}


def test_terms_of_a_sum_have_means_of_their_own():
    """Each over the completions that it could score, whatever the others could."""
    collected = collected_of([[1.0, 0.0]])
    terms = [{"exact": 1.0, "mine:length": -0.5}, {"exact": 0.0}]
    judged = with_completions(
        collected.judged[0], [{"verdict": Verdict(1.0, None, right=True, terms=each)} for each in terms]
    )
    found = rollout_statistics(dataclasses.replace(collected, judged=[judged]), 3)
    assert found.terms == {"exact": 0.5, "mine:length": -0.5}
    assert found.to_json()["reward/mine:length"] == -0.5
    assert rollout_statistics(collected, 3).terms == {}
