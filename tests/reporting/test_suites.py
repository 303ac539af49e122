"""The table of suites."""

import dataclasses
import io
import json
import math

import pytest

from grpo_jax.reporting.suites import suites_table
from grpo_jax.runs.lines import UNKNOWN, Scores, Share
from grpo_jax.runs.suite_scores import EvaluatedPolicy, SuiteReport, SuiteScores
from grpo_jax.terminal import PlainConsole


def shown(report):
    console = PlainConsole(width=80, file=io.StringIO())
    console.print(suites_table(report))
    return console.file.getvalue()


def report(**suites):
    return SuiteReport(EvaluatedPolicy(run="runs/x", step=8), "0" * 16, suites=suites)


def result(value, **changes):
    """Return the scores of a suite with four samples of each problem."""
    share, others = Share(value, value - 0.05, value + 0.05), [Share(other, 0.0, 1.0) for other in (0.5, 0.4)]
    scores = Scores([share] * 3 + others[:1], share, others[1], 0.5, 1234.56, 0.125, unscored=7, problems=1500)
    return SuiteScores(dataclasses.replace(scores, **changes), 0.44, 1.0, "0" * 16, {"jax": "0"}, {"version": "1"})


def test_numbers_are_in_per_cent_beside_their_interval():
    text = shown(report(math_500=result(0.3183), olympiad_bench=result(0.1001)))
    rows = [line.split() for line in text.splitlines()]
    assert "runs/x, step 8: 4 samples of each problem, in per cent" in text
    numbers = ["50.00", "44.00", "40.00", "1,234.6", "12.50", "7"]
    assert ["math_500", "1,500", "31.83", "26.83-36.83", *numbers] in rows
    assert ["average", "of", "2", "20.92", "50.00", "44.00", "40.00"] in rows


def unknown():
    """Return the scores of a suite whose reward does not say what is right."""
    shares = {"pass_at": [UNKNOWN] * 4, "mean": UNKNOWN, "majority": UNKNOWN}
    return dataclasses.replace(result(0.5, **shares), best=math.nan)


def test_what_is_not_known_is_a_dash_and_told():
    text = shown(report(math_500=unknown(), olympiad_bench=result(0.1001)))
    rows = [line.split() for line in text.splitlines()]
    assert ["math_500", "1,500", "-", "-", "-", "-", "-", "1,234.6", "12.50", "7"] in rows
    assert ["average", "of", "2", "-", "-", "-", "-"] in rows
    assert "- is not known: the reward does not say" in " ".join(text.split())
    assert "is not known" not in shown(report(math_500=result(0.3)))
    scores = dataclasses.replace(unknown(), code=None)
    assert (
        SuiteScores.from_json(json.loads(json.dumps(scores.to_json(), allow_nan=False))).to_json() == scores.to_json()
    )


@pytest.mark.parametrize("right", [0.9876, 1.0])
def test_no_number_is_broken_in_80_columns(right):
    share = Share(right, 0.0123, 1.0)
    changes = {"pass_at": [share] * 64, "mean": share, "majority": share, "mean_length": 32768.04}
    widest = result(right, **changes, truncated_share=right, unscored=99999, problems=1319)
    widest = dataclasses.replace(widest, best=right)
    text = shown(report(olympiad_bench=widest, math_500=widest))
    share = f"{100 * right:.2f}"
    row = ["math_500", "1,319", share, "1.23-100.00", share, share, share, "32,768.0", share, "99,999"]
    assert row in [line.split() for line in text.splitlines()]
    assert max(map(len, text.splitlines())) <= 80
