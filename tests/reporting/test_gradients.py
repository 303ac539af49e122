"""An analysis of gradients in the terminal; tests/analysis/test_analyse.py shows whole ones."""

import io

from grpo_jax.reporting.gradients import cosine, number, ranking, ratio, show_gradients
from grpo_jax.runs import estimates
from grpo_jax.runs.estimates import Estimate
from grpo_jax.runs.gradients import GradientAnalysis, pair_of
from grpo_jax.terminal import PlainConsole


def shown(statistics):
    """Return what the terminal shows for the statistics of an analysis."""
    head = {"run": "x", "step": 1, "prompts": 1, "samples": 1, "parameters": 1, "sketch": None, "aggregation": "sum"}
    told = io.StringIO()
    show_gradients(GradientAnalysis(**head, **vars(statistics)), PlainConsole(width=80, file=told))
    return told.getvalue()


def compared(value, low, high, resolved):
    return estimates.TestedEstimate(value=value, low=low, high=high, p=0.01, resolved=resolved)


def test_a_ranking_says_what_is_resolved():
    logs = {(4, 2): (0.5, True), (8, 2): (0.2, True), (8, 4): (-0.05, False)}
    table = {pair_of(*sizes): compared(log, log - 0.1, log + 0.1, resolved) for sizes, (log, resolved) in logs.items()}
    assert ranking([2, 4, 8], table, "SNR") == (
        "SNR: highest at G=4, 1.65 [1.49, 1.82] times that of G=2 (resolved), 1.05 [0.95, 1.16] times that of G=8 "
        "(unresolved)"
    )


def test_numbers_have_the_digits_of_their_intervals():
    assert number(Estimate(1.23456, 1.0, 1.5)) == "1.23 [1.00, 1.50]"
    assert number(Estimate(-0.0213, -0.03, -0.01)) == "-0.021 [-0.030, -0.010]"
    assert number(Estimate(123.4, 100, 150)) == "123 [100, 150]"
    assert number(Estimate(1.0, 1.0, 1.0)) == "1"
    assert number(Estimate(float("nan"), -float("inf"), float("inf"))) == "unknown"
    assert ratio(Estimate(0.0, -float("inf"), 800.0)) == "1 [unknown]"
    assert cosine(Estimate(1.01, 0.96, 1.06)) == "1.000 [0.960, 1.000]"


def test_an_interval_that_looks_resolved_among_many_gets_a_word():
    def told(low):
        return ranking([2, 4], {pair_of(4, 2): compared(0.2, low, 0.3, False)}, "SNR")

    assert "(unresolved after correction)" in told(0.1)
    assert "(unresolved)" in told(-0.1)
