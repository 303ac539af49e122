"""An analysis of gradients in the terminal; tests/analysis/test_analyse.py shows whole ones."""

import io

from grpo_jax.reporting import show_gradients
from grpo_jax.reporting.gradients import cosine, number, ranking, ratio
from grpo_jax.terminal import PlainConsole


def shown(record):
    """Return what the terminal shows for a record of `analysis.analyse.statistics`."""
    head = {"run": "x", "step": 1, "prompts": 1, "samples": 1, "sketch": None, "aggregation": "sum"}
    told = io.StringIO()
    show_gradients({**head, **record}, PlainConsole(width=80, file=told))
    return told.getvalue()


def test_a_ranking_says_what_is_resolved():
    def compared(value, resolved):
        return {"value": value, "low": value - 0.1, "high": value + 0.1, "p": 0.01, "resolved": resolved}

    table = {"4/2": compared(0.5, True), "8/2": compared(0.2, True), "8/4": compared(-0.05, False)}
    assert ranking([2, 4, 8], table, "SNR") == (
        "SNR: highest at G=4, 1.65 [1.49, 1.82] times that of G=2 (resolved), 1.05 [0.95, 1.16] times that of G=8 "
        "(unresolved)"
    )


def test_numbers_have_the_digits_of_their_intervals():
    assert number([1.23456, 1.0, 1.5]) == "1.23 [1.00, 1.50]"
    assert number([-0.0213, -0.03, -0.01]) == "-0.021 [-0.030, -0.010]"
    assert number([123.4, 100, 150]) == "123 [100, 150]"
    assert number([1.0, 1.0, 1.0]) == "1"
    assert number([float("nan"), -float("inf"), float("inf")]) == "unknown"
    assert ratio([0.0, -float("inf"), 800.0]) == "1 [unknown]"
    assert cosine([1.01, 0.96, 1.06]) == "1.000 [0.960, 1.000]"


def test_an_interval_that_looks_resolved_among_many_gets_a_word():
    def compared(low):
        return {"value": 0.2, "low": low, "high": 0.3, "p": 0.03, "resolved": False}

    assert "(unresolved after correction)" in ranking([2, 4], {"4/2": compared(0.1)}, "SNR")
    assert "(unresolved)" in ranking([2, 4], {"4/2": compared(-0.1)}, "SNR")
