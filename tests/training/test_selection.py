"""The selection of prompts: chances by enumeration, unbiased gradients, and runs that continue with these prompts."""

import dataclasses
import itertools
from functools import cache

import jax
import numpy as np
import pytest

from grpo_jax.config import ConfigError
from grpo_jax.data import Problem, PromptSource
from grpo_jax.runs.directory import RunDirectory
from grpo_jax.training import build, train
from grpo_jax.training.selection import BatchStart, inclusion_chances, select_prompts, systematic_sample
from grpo_jax.training.visits import Visits, signal_chance
from tests.analysis import bandit
from tests.helpers import make_config
from tests.training.test_loop import ONE_DEVICE, Crash, Disturbed, crash, final_state

WEIGHTED = {"rollout__selection__name": "weighted", "rollout__selection__candidates": 3}
SKIPPING = {"rollout__selection__name": "skipping"}


def samples(chances):
    """Yield every sample of `systematic_sample` with its probability: it only changes where a point passes an end."""
    ends = np.unique(np.concatenate([[0.0, 1.0], np.cumsum(chances[chances < 1]) % 1]))
    for low, high in itertools.pairwise(ends):
        yield high - low, systematic_sample(chances, (low + high) / 2)


@pytest.mark.parametrize("number", [1, 3, 7, 12])
def test_every_candidate_is_sampled_with_its_chance_and_none_twice(number):
    """Its chance follows its score unless that would be more than 1; it never falls below the floor."""
    scores = np.array([0.1, 0, 0, 2, 0.5, 0.3, 9, 0.2, 1, 0.7, 0.1, 0.4])
    chances, found = inclusion_chances(scores, number, 0.2), np.zeros(12)
    for probability, sample in samples(chances):
        assert len(set(sample.tolist())) == len(sample) == number
        found[sample] += probability
    np.testing.assert_allclose(found, chances, atol=1e-12)
    assert chances.min() >= 0.2 * number / 12 - 1e-12
    free = (chances < 1) & (scores > 0)
    slopes = (chances - chances[1])[free] / scores[free]  # the second candidate has the floor alone
    np.testing.assert_allclose(slopes, slopes.mean() if free.any() else 0, rtol=1e-9)
    assert (chances[6] == 1) == (number > 1)


def test_nothing_to_go_by_gives_equal_chances():
    np.testing.assert_allclose(inclusion_chances(np.zeros(8), 2, 0.2), 0.25)


def pairs_of(logits):
    """The mean [Q, 4] of each prompt's pair gradient, and the trace [Q] of its covariance, over all 16 pairs."""
    pairs = np.array(list(itertools.product(range(4), repeat=2)))
    chance = bandit.probabilities(logits)[:, pairs].prod(-1)
    rewards = bandit.RIGHT[pairs].astype(float)
    advantages = rewards - rewards[:, ::-1]
    gradients = (advantages[:, :, None] * bandit.scores(logits)[:, pairs]).mean(2)
    means = np.einsum("qs,qsd->qd", chance, gradients)
    return means, np.einsum("qs,qsd->q", chance, gradients**2) - (means**2).sum(1)


def mean_and_variance(logits, chances, weights, number):
    """The mean of a step's gradient, and the trace of its covariance, over all samples of prompts and all pairs."""
    means, variances = pairs_of(logits)
    steps = [
        (
            probability,
            (weights[one][:, None] * means[one]).sum(0) / number,
            (weights[one] ** 2 * variances[one]).sum() / number**2,
        )
        for probability, one in samples(chances)
    ]
    mean = sum(probability * found for probability, found, _ in steps)
    return mean, sum(
        probability * (((found - mean) ** 2).sum() + variance) for probability, found, variance in steps
    )  # fmt: skip


def test_weights_make_the_gradient_unbiased_and_selection_makes_it_less_noisy():
    """Of 24 prompts every second one is nearly solved. Without weights the gradient is that of other prompts."""
    logits = bandit.many(24, seed=3, spread=0.3)
    logits[::2, bandit.RIGHT] += 5
    number, p = 6, bandit.success(logits)
    assert (p[::2] > 0.97).all()
    uniform = np.full(24, number / 24)
    chances = inclusion_chances(np.sqrt(signal_chance(p, 2)), number, 0.1)
    target = pairs_of(logits)[0].mean(0)
    plain, plain_variance = mean_and_variance(logits, uniform, np.ones(24), number)
    weighted, variance = mean_and_variance(logits, chances, number / (24 * chances), number)
    biased, _ = mean_and_variance(logits, chances, np.ones(24), number)
    np.testing.assert_allclose(plain, target, atol=1e-12)
    np.testing.assert_allclose(weighted, target, atol=1e-12)
    assert np.linalg.norm(biased - target) > 0.2 * np.linalg.norm(target)
    assert variance < 0.7 * plain_variance


def test_wrong_estimates_of_prompts_bias_nothing():
    logits, number = bandit.many(10), 4
    chances = inclusion_chances(np.linspace(0, 3, 10) ** 2, number, 0.05)
    found, _ = mean_and_variance(logits, chances, number / (10 * chances), number)
    np.testing.assert_allclose(found, pairs_of(logits)[0].mean(0), atol=1e-12)


PROBLEMS = [Problem(str(number), "") for number in range(300)]


def visited():
    """Half of the prompts were right eight times, the others four times. The last 0, 1 or 2 groups had no signal.

    A right completion is worth 2, which makes the mean reward of the others that of a prompt that is always right.
    """
    visits = Visits.empty(half_life=1e9, room=8)
    ids = [problem.id for problem in PROBLEMS]
    rewards = np.zeros((300, 8), np.float32)
    rewards[::2], rewards[1::2, :4] = 1, 1
    visits.rewards.observe(ids, 2 * rewards, rewards >= 0, step=1)
    visits.successes.observe(ids, rewards, rewards >= 0, step=1)
    for index, problem in enumerate(PROBLEMS):
        for _ in range(index % 3):
            visits.streaks.observe([problem.id], np.array([False]), np.array([True]))
    return visits


VISITED, ORDER = visited(), PromptSource(PROBLEMS, 0)
configured = cache(make_config)


def selected(cursor=0, step=2, **changes):
    return select_prompts(configured(**changes), VISITED, BatchStart(ORDER, cursor, step), 4)


def test_without_a_selection_prompts_come_in_their_order():
    found = selected(cursor=3)
    assert found.problems == ORDER.take(3, 4)
    assert (found.consumed, found.weights.tolist()) == (4, [1.0] * 4)


def test_likelier_prompts_weigh_less():
    """Of 12 candidates four are sampled; a prompt weighs 4 / 12 divided by its chance."""
    found = [selected(step=step, **WEIGHTED) for step in range(20)]
    assert all(one.consumed == 12 and len(set(one.problems)) == 4 for one in found)
    assert len({tuple(problem.prompt for problem in one.problems) for one in found}) > 5
    solved = {PROBLEMS[index].prompt for index in range(0, 300, 2)}
    for one in found:
        of = [
            [w for p, w in zip(one.problems, one.weights, strict=True) if (p.prompt in solved) == kind]
            for kind in (0, 1)
        ]
        assert max(of[0], default=0) < 1.0
        assert min(of[1], default=2) > 1.0
        assert max(of[1], default=0) <= 1 / 0.2
    again = [selected(step=step, rollout__selection__unbiased=False, **WEIGHTED) for step in range(20)]
    assert [one.problems for one in again] == [one.problems for one in found]
    assert {weight for one in again for weight in one.weights.tolist()} == {1.0}


def test_an_epoch_ends_with_the_candidates_that_it_has():
    whole = selected(cursor=300 - 4, **WEIGHTED)
    assert whole.problems == ORDER.take(296, 4)
    assert (whole.consumed, whole.weights.tolist()) == (4, [1.0] * 4)


def test_prompts_without_signal_are_skipped_by_chance():
    """Of the prompts with streaks of 0, 1, 2 all, a half and a quarter are sampled."""
    order, streaks = ORDER.take(0, 300), {p.prompt: i % 3 for i, p in enumerate(PROBLEMS)}
    taken = np.zeros(4)  # how often each of the first four, which are always looked at, is sampled
    for step in range(200):
        found = selected(step=step, **SKIPPING)
        assert found.problems == sorted(found.problems, key=order.index)
        assert found.problems[-1] == order[found.consumed - 1]
        taken += [problem in found.problems for problem in order[:4]]
    chances = 0.5 ** np.array([streaks[problem.prompt] for problem in order[:4]])
    assert len(set(chances)) > 1
    np.testing.assert_allclose(taken / 200, chances, atol=0.1)
    seldom = {**SKIPPING, "rollout__selection__explore": 1e-9}
    last = selected(cursor=296, **seldom)  # nothing else is left of the epoch
    assert (last.problems, last.consumed) == (order[296:], 4)


@pytest.mark.parametrize(
    ("change", "field"), [({"rollout__max_rollouts": 32}, "max_rollouts"), ({"objective__denominator": "valid"}, "den")]
)
def test_what_would_bias_the_weighted_gradient_is_refused(change, field):
    with pytest.raises(ConfigError, match=rf"{field}.*set it to .*, or rollout.selection.unbiased to false"):
        make_config(**WEIGHTED, **change)
    make_config(**WEIGHTED, **change, rollout__selection__unbiased=False)


def test_a_run_that_is_killed_goes_on_with_the_same_prompts(tmp_path):
    """With both selections, and with a batch in flight."""
    few = {"train__steps": 6, "rollout__delay": 1, "optimizer__warmup_updates": 1, "evaluation__test_problems": 2}
    few |= {"evaluation__every": 0, "checkpoint__keep_best": 0, "checkpoint__every": 2}
    configs = [make_config(**few, **selection) for selection in ({}, WEIGHTED, SKIPPING)]
    made = build(configs[0], ONE_DEVICE)  # its programs do not depend on the selection
    for name, config in zip(("weighted", "skipping"), configs[1:], strict=True):
        experiment, whole, killed = dataclasses.replace(made, config=config), tmp_path / name, tmp_path / f"{name}2"
        train(experiment, whole)
        with pytest.raises(Crash):
            train(experiment, killed, Disturbed("training", 5, crash))
        train(experiment, killed)
        jax.tree.map(np.testing.assert_array_equal, final_state(whole), final_state(killed))
        assert list(RunDirectory(whole).rollouts()) == list(RunDirectory(killed).rollouts())
