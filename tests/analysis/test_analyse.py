"""The whole analysis, on bandits where the results are known."""

import dataclasses
import json

import numpy as np
import pytest

from grpo_jax.analysis.analyse import Settings
from grpo_jax.analysis.record import statistics
from grpo_jax.config import ConfigError
from grpo_jax.objectives import AGGREGATIONS
from grpo_jax.runs.gradients import Advantage, Unit, pair_of
from tests.analysis import bandit
from tests.reporting.test_gradients import shown


def analysed(sampled, vectors, aggregation="sum", resamples=400):
    return statistics(
        sampled, vectors.copy(), AGGREGATIONS[aggregation], tolerance=1e-6, cuts=4, resamples=resamples, seed=0
    )


@pytest.fixture(scope="module")
def drawn():
    return bandit.draw(bandit.many(200), 32)


@pytest.fixture(scope="module")
def few():
    return bandit.draw(bandit.many(30), 8)


@pytest.fixture(scope="module")
def record(drawn):
    return analysed(*drawn)


def test_what_is_certain_is_resolved(record):
    """More rollouts of a prompt carry more signal, two arms are noisier than one, and the theory holds."""
    for more, fewer in ((4, 2), (8, 4), (16, 8)):
        found = record.comparisons[Advantage.N_VS_M][Unit.PROMPT][pair_of(more, fewer)]
        assert found.resolved
        assert found.low > 0
    for size in (2, 4, 8, 16):
        assert record.arms.log_left_at_1[size].resolved
        assert record.arms.log_left_at_1[size].low > 0
        assert not record.arms.rho_within[size].resolved
    for size in (4, 8, 16):
        agreement = record.weighting.log_agreement[size]
        assert -0.1 < agreement.low < 0 < agreement.high < 0.1
        assert record.weighting.log_measured[size].resolved
    assert not record.scores.summed.resolved


def test_a_mean_over_tokens_breaks_the_balance_of_the_arms(few):
    """Right answers are long: with 1/|o| the mean of a prompt's vectors is not 0, although that of the sums is."""
    sampled, vectors = few
    lengths = np.where(sampled.right, 5, 1).astype(np.int32)
    scores = analysed(bandit.sampled(sampled.right, lengths=lengths), vectors, "sequence").scores
    assert scores.as_aggregated.resolved
    assert scores.as_aggregated.low > 0.01
    assert not scores.summed.resolved


def test_aggregations_are_factors(few):
    """If all lengths are equal, they are one common factor, and ratios do not change."""
    sampled, vectors = few
    sampled = bandit.sampled(sampled.right, lengths=np.full(sampled.right.shape, 3, np.int32))
    found = {name: analysed(sampled, vectors, name, resamples=10) for name in AGGREGATIONS}
    of = {name: one.estimators[Advantage.GRPO][4] for name, one in found.items()}
    for name, factor in {"sequence": 1 / 3, "token": 1 / 3, "constant": 1 / 3, "sum": 1.0}.items():
        assert of[name].variance.value == pytest.approx(factor**2 * of["sum"].variance.value, rel=1e-4)
        assert of[name].snr[Unit.ROLLOUT].value == pytest.approx(of["sum"].snr[Unit.ROLLOUT].value, rel=1e-4)


def test_what_the_reward_does_not_say_is_left_out(few):
    sampled, vectors = few
    silent = analysed(dataclasses.replace(sampled, right=None), vectors, resamples=10)
    assert silent.arms is None
    assert silent.weighting is None
    shares = np.where(sampled.right, 1.0, np.linspace(0, 0.5, 8, dtype=np.float32)[None]).astype(np.float32)
    partial = analysed(dataclasses.replace(sampled, rewards=shares), vectors, resamples=10)
    assert partial.arms is not None
    assert partial.weighting is None
    nothing = analysed(dataclasses.replace(sampled, scored=np.zeros_like(sampled.scored)), vectors, resamples=10)
    assert nothing.reward is None
    assert nothing.unscored == 30 * 8
    assert nothing.arms is None
    assert "no arms" in shown(nothing)


def test_prompts_with_a_completion_without_verdict_are_not_weighed(few):
    sampled, vectors = few
    scored = sampled.scored.copy()
    scored[:7, 3] = False
    found = analysed(dataclasses.replace(sampled, scored=scored), vectors, resamples=10)
    assert found.unscored == 7
    assert found.weighting.prompts == 23


def test_it_is_json_and_can_be_shown(record):
    told = shown(record)
    assert told.count("unresolved)") + told.count("(resolved)") > 20
    assert json.loads(json.dumps(record.to_json(), allow_nan=False))["sizes"] == [2, 4, 8, 16]


def test_whole_vectors_if_they_fit():
    room = Settings(prompts=8, samples=4, memory_gb=4 * 32 * 1000 / 2**30, sketch=500)
    assert room.size_for(1000) is None
    assert room.size_for(1001) == 500
    small = dataclasses.replace(room, sketch=2000)
    with pytest.raises(ConfigError, match=r"8 x 4 sketches of 1500 numbers take 0\.00 GiB; raise it, or lower"):
        small.size_for(1500)
