"""Statistics of few paired runs, against SciPy, by hand, and by simulation."""

import numpy as np
import pytest
from scipy import stats

from grpo_jax.evaluation.paired import (
    at_budget,
    cost_to,
    decide,
    detectable,
    holm,
    is_known_at,
    mean_interval,
    ratio_interval,
    share_interval,
    sign_flip_p,
)

VALUES = [0.91, 0.95, 0.93, 0.9, 0.96]
SPENT, CURVE = np.array([0.0, 100.0, 200.0, 300.0]), np.array([0.1, 0.5, 0.4, 0.9])


def test_the_interval_is_students():
    found = mean_interval(VALUES)
    low, high = stats.t.interval(0.95, 4, np.mean(VALUES), stats.sem(VALUES))
    assert found == pytest.approx((np.mean(VALUES), low, high))
    assert mean_interval([0.5]) == (0.5, -np.inf, np.inf)


def test_the_interval_of_shares_stays_among_shares():
    assert mean_interval([0.99, 1.0, 0.97]).high > 1
    assert share_interval([0.99, 1.0, 0.97]) == (*mean_interval([0.99, 1.0, 0.97])[:2], 1.0)
    assert share_interval([0.01, 0.0, 0.03]).low == 0.0
    assert share_interval(VALUES) == mean_interval(VALUES)


def test_flips_of_signs_by_hand():
    """Three differences of one sign: two of the eight flips are as far from 0. (3, -1, 2): four are."""
    assert sign_flip_p([0.1, 0.2, 0.3]) == 2 / 8
    assert sign_flip_p([3.0, -1.0, 2.0]) == 4 / 8
    assert sign_flip_p([0.0, 0.0]) == 1.0
    assert sign_flip_p([0.1] * 5) == 0.0625
    assert sign_flip_p([-0.024, 0.02, -0.02, -0.001, 0.025]) == 1.0  # a sum of 0, whatever it is rounded to
    with pytest.raises(ValueError, match="16 differences"):
        sign_flip_p([1.0] * 16)


def test_flips_agree_with_scipy():
    differences = np.random.default_rng(0).normal(0.5, 1.0, 8)
    found = stats.permutation_test((differences,), np.mean, permutation_type="samples", n_resamples=np.inf)
    assert sign_flip_p(differences.tolist()) == pytest.approx(found.pvalue)


def test_holm_by_hand():
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def test_what_is_detectable_is_found_as_often_as_said():
    rng = np.random.default_rng(1)
    differences = rng.normal(0, 1.0, 5)
    effect = detectable(differences.tolist()) / np.std(differences, ddof=1)  # in true standard deviations
    samples = rng.normal(effect, 1.0, (20000, 5))
    found = stats.ttest_1samp(samples, 0.0, axis=1).pvalue
    assert (found < 0.05).mean() == pytest.approx(0.8, abs=0.01)
    samples += (detectable(differences.tolist(), alpha=0.01) / np.std(differences, ddof=1)) - effect
    assert (stats.ttest_1samp(samples, 0.0, axis=1).pvalue < 0.01).mean() == pytest.approx(0.8, abs=0.01)


def test_the_ratios_interval_covers_it():
    """Five realistic pairs: correlated within a seed, with denominators known to a few per cent."""
    rng, held = np.random.default_rng(2), []
    for _ in range(4000):
        shared = rng.normal(0, 0.02, 5)
        y, x = 0.9 + shared + rng.normal(0, 0.01, 5), 0.95 + shared + rng.normal(0, 0.02, 5)
        found = ratio_interval(y.tolist(), x.tolist())
        held.append(found.low <= 0.9 / 0.95 <= found.high)
    assert np.mean(held) == pytest.approx(0.95, abs=0.012)


def test_a_ratio_without_noise_is_exact():
    assert ratio_interval([3.0, 3.5, 4.0], [6.0, 7.0, 8.0]) == pytest.approx((0.5, 0.5, 0.5))
    assert ratio_interval([1.0, 2.0, 3.0], [-2.0, 4.0, 6.0])[1:] == (-np.inf, np.inf)  # the denominator may be 0


def simulated(arms, budgets, seeds, studies=600, effect=0.0):
    """Return the decisions of simulated studies. The first difference of each has this effect."""
    rng = np.random.default_rng(3)
    curves = (
        rng.normal(0, 1, (studies, arms + 1, budgets, seeds)).cumsum(axis=2)
        / np.sqrt(np.arange(1, budgets + 1))[:, None]
    )
    differences = (curves[:, 1:] - curves[:, :1]).reshape(studies, arms * budgets, seeds)
    differences[:, 0] += effect
    return [decide(table) for table in differences.tolist()]


@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize(("arms", "budgets"), [(1, 1), (4, 1), (4, 5), (1, 12)])
def test_a_study_without_any_difference_resolves_nothing(arms, budgets, seeds):
    """If rows were decided alone, 5, 17, 56 and 37 % of such tables would have a resolved row."""
    tables = simulated(arms, budgets, seeds)
    assert np.mean([any(row.resolved for row in table) for table in tables]) < 0.075
    by_row = np.mean([any(row.p < 0.05 for row in table) for table in tables])
    assert by_row > {1: 0.02, 4: 0.1, 20: 0.35, 12: 0.2}[arms * budgets]


def test_a_large_difference_is_resolved_among_many():
    tables = simulated(4, 5, 5, effect=15.0)
    assert np.mean([table[0].resolved for table in tables]) > 0.9
    assert np.mean([any(row.resolved for row in table[1:]) for table in tables]) < 0.075


def test_intervals_agree_with_verdicts():
    """This holds for differences and ratios, and their level is at least 95 %."""
    rng = np.random.default_rng(4)
    seen_verdicts = set()
    for _ in range(100):
        base = rng.normal(10, 1, 5)
        arms = [base + rng.normal(shift, 1, 5) for shift in (0, 1, 2, 4)]
        for arm, found in zip(arms, decide([(arm - base).tolist() for arm in arms]), strict=True):
            difference = mean_interval((arm - base).tolist(), found.alpha)
            ratio = ratio_interval(arm.tolist(), base.tolist(), found.alpha)
            assert found.resolved == (not difference.low <= 0 <= difference.high) == (not ratio.low <= 1 <= ratio.high)
            assert found.resolved == (found.holm <= 0.05)
            assert found.alpha <= 0.05
            assert found.p == pytest.approx(stats.ttest_rel(arm, base).pvalue)
            seen_verdicts.add((found.resolved, found.p <= 0.05))
    assert seen_verdicts == {(True, True), (False, True), (False, False)}


def test_seeds_that_agree_exactly_resolve_nothing():
    first, second = decide([[0.1] * 5, [0.1, 0.2, 0.15, 0.12, 0.16]])
    assert (first.resolved, first.p, second.resolved) == (False, 1.0, True)
    assert decide([]) == []


def test_curves_are_read_between_their_evaluations_and_not_beyond():
    assert at_budget(SPENT, CURVE, 250) == pytest.approx(0.65)
    assert at_budget(SPENT, CURVE, 300) == pytest.approx(0.9)
    assert at_budget(SPENT, CURVE, 301) is None


def test_a_curve_is_not_read_where_nobody_looked():
    """Two equal runs, one evaluated an eighth as often: a line from its start would make it look slower."""
    often, seldom = np.arange(0.0, 12801, 1600), np.array([0.0, 12800.0])

    def learned(spent):
        return 1 - np.exp(-spent / 4000)

    assert at_budget(often, learned(often), 6400) == pytest.approx(learned(6400))
    assert np.interp(6400, seldom, learned(seldom)) < learned(6400) - 0.3
    assert at_budget(seldom, learned(seldom), 6400) is None
    assert at_budget(seldom, learned(seldom), 12800) == learned(12800)
    known = [is_known_at(SPENT, at) for at in (0, 50, 100, 150, 199, 200, 250)]
    assert known == [True, False, True, False, False, True, True]


def test_the_first_time_a_target_is_reached():
    assert cost_to(SPENT, CURVE, 0.45) == pytest.approx(87.5)
    assert cost_to(SPENT, CURVE, 0.6) == pytest.approx(240)
    assert cost_to(SPENT, CURVE, 0.05) == 0
    assert cost_to(SPENT, CURVE, 0.95) is None
