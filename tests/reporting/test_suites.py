"""The table of suites."""

import io

import pytest

from grpo_jax.reporting import suites_table
from grpo_jax.terminal import PlainConsole


def shown(report):
    console = PlainConsole(width=80, file=io.StringIO())
    console.print(suites_table(report))
    return console.file.getvalue()


def result(mean):
    names = {"mean@4": mean, "pass@4": 0.5, "best@4_with_replacement": 0.44, "maj@4": 0.4}
    lengths = {"mean_length": 1234.56, "truncated_share": 0.125, "unscored": 7, "problems": 1500, "samples": 4}
    return {**names, **lengths, "interval": {"mean@4": [mean - 0.05, mean + 0.05]}}


def test_numbers_are_in_per_cent_beside_their_interval():
    average = {"mean@4": 0.25, "pass@4": 0.5, "best@4_with_replacement": 0.44, "maj@4": 0.4}
    suites = {"math_500": result(0.3183), "olympiad_bench": result(0.1)}
    text = shown({"policy": {"run": "runs/x", "step": 8}, "average": average, "suites": suites})
    rows = [line.split() for line in text.splitlines()]
    assert "runs/x, step 8: 4 samples of each problem, in per cent" in text
    numbers = ["50.00", "44.00", "40.00", "1,234.6", "12.50", "7"]
    assert ["math_500", "1,500", "31.83", "26.83-36.83", *numbers] in rows
    assert ["average", "of", "2", "25.00", "50.00", "44.00", "40.00"] in rows


@pytest.mark.parametrize("right", [0.9876, 1.0])
def test_no_number_is_broken_in_80_columns(right):
    names = dict.fromkeys(("mean@64", "pass@64", "best@64_with_replacement", "maj@64"), right)
    lengths = {"mean_length": 32768.04, "truncated_share": right, "unscored": 99999, "problems": 1319, "samples": 64}
    suites = dict.fromkeys(("olympiad_bench", "math_500"), names | lengths | {"interval": {"mean@64": [0.0123, 1.0]}})
    text = shown({"policy": {"run": "runs/x", "step": 8}, "average": names, "suites": suites})
    share = f"{100 * right:.2f}"
    row = ["math_500", "1,319", share, "1.23-100.00", share, share, share, "32,768.0", share, "99,999"]
    assert row in [line.split() for line in text.splitlines()]
    assert max(map(len, text.splitlines())) <= 80
