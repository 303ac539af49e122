"""Running estimates of what prompts come to."""

import json

import numpy as np
import pytest

from grpo_jax.training.visits import DecayedMeans, Streaks, Visits, signal_chance


def observed(half_life=10.0):
    made = DecayedMeans(half_life, start=0.5)
    rewards = np.array([[1.0, 1.0], [0.0, 1.0]], np.float32)
    made.observe([7, 8], rewards, np.ones((2, 2), bool), step=1)
    return made


def test_nothing_is_known_at_first():
    assert DecayedMeans(10, start=0.5).expected([1, 2], step=1).tolist() == [0.5, 0.5]


def test_by_hand():
    """Three of four are right in all. Two of two, with a prior of two rollouts at 3/4: 3.5 of 4. Unknown: the prior."""
    found = observed().expected([7, 8, 9], step=1)
    np.testing.assert_allclose(found, [3.5 / 4, 2.5 / 4, 0.75], rtol=1e-6)
    assert observed().evidence([7, 9], step=1).tolist() == [4.0, 2.0]


def test_what_is_old_counts_less():
    """After a half-life the two rollouts count as one."""
    found = observed().expected([7, 9], step=11)
    np.testing.assert_allclose(found, [(1 + 2 * 0.75) / 3, 0.75], rtol=1e-6)
    assert observed().evidence([7, 9], step=11).tolist() == [3.0, 2.0]
    assert observed(half_life=1e9).expected([7], step=11)[0] == pytest.approx(3.5 / 4, rel=1e-6)


@pytest.mark.trap(16)
def test_what_has_no_verdict_says_nothing():
    made, rewards = DecayedMeans(10, start=0.5), np.array([[1.0, 0.0]], np.float32)
    made.observe([7], rewards, np.array([[True, False]]), step=1)
    assert made.expected([7], step=1)[0] == 1.0
    made.observe([8], rewards, np.array([[False, False]]), step=1)
    assert made.expected([8], step=1)[0] == 1.0  # the prior alone


@pytest.mark.trap(41)
def test_a_checkpoint_brings_all_of_it_back():
    made, again = observed(), DecayedMeans(10, start=0.5)
    again.continue_from(json.loads(json.dumps(made.record())))
    for one in (made, again):
        one.observe([7], np.array([[0.0, 0.3]], np.float32), np.ones((1, 2), bool), step=4)
    assert made.record() == again.record()
    np.testing.assert_array_equal(made.expected([7, 8, 9], 9), again.expected([7, 8, 9], 9))


def test_lengths_are_known_of_completions_without_a_verdict():
    made = Visits.empty(half_life=10, room=32)
    assert made.lengths.expected([7], step=1).tolist() == [32.0]
    rewards, scored, lengths = np.zeros((2, 2), np.float32), np.zeros((2, 2), bool), np.array([[4, 6], [20, 22]])
    made.observe([7, 8], rewards, rewards, scored, lengths, signal=np.array([True, False]), step=1)
    np.testing.assert_allclose(made.lengths.expected([7, 8, 9], step=1), [(10 + 26) / 4, (42 + 26) / 4, 13], rtol=1e-6)
    assert made.rewards.expected([7], step=1).tolist() == [0.5]
    assert made.streaks.of([7, 8]).tolist() == [0, 0]  # a verifier that was down says nothing about a prompt
    made.observe([7, 8], rewards, rewards, ~scored, lengths, signal=np.array([True, False]), step=2)
    assert made.streaks.of([7, 8]).tolist() == [0, 1]
    made.observe([7, 8], rewards, rewards, scored, lengths, signal=np.array([False, False]), step=3)
    assert made.streaks.of([7, 8]).tolist() == [0, 1]


@pytest.mark.trap(41)
def test_a_streak_ends_with_a_signal_and_is_in_checkpoints():
    made, again = Streaks(), Streaks()
    for signal in ([False, True, False], [False, False, False], [False, True, True]):
        made.observe([7, 8, 9], np.array(signal), np.full(3, True))
        again.continue_from(json.loads(json.dumps(made.record())))
        assert made.of([7, 8, 9, 10]).tolist() == again.of([7, 8, 9, 10]).tolist()
    assert made.of([7, 8, 9, 10]).tolist() == [3, 0, 0, 0]


def test_the_chance_of_a_signal_is_that_of_two_kinds():
    p = np.array([-0.5, 0.0, 0.3, 0.5, 1.0, 2.0])
    np.testing.assert_allclose(signal_chance(p, 2), 2 * np.clip(p, 0, 1) * (1 - np.clip(p, 0, 1)), atol=1e-12)
    assert signal_chance(np.array([0.3]), 4)[0] == pytest.approx(1 - 0.3**4 - 0.7**4)
