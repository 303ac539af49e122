"""suites.json: what is written is what is read, and what earlier versions wrote still is."""

import json

import pytest

from grpo_jax.config import ConfigError
from grpo_jax.runs.directory import RunDirectory
from grpo_jax.runs.lines import Scores, Share
from grpo_jax.runs.provenance import Code, Provenance
from grpo_jax.runs.suite_scores import EvaluatedPolicy, SuiteReport, SuiteScores


def suite(mean):
    share = Share(mean, mean - 0.1, mean + 0.1)
    scores = Scores([share, Share(0.75, 0.5, 1.0)], share, Share(0.5, 0.0, 1.0), 0.5, 3.0, 0.0, 0, 4)
    return SuiteScores(scores, 0.625, 1.5, "0" * 16, {"jax": "0"}, Code("1", None, None, "2" * 16))


REPORT = SuiteReport(
    EvaluatedPolicy(checkpoint="models/x"),
    "1" * 16,
    Provenance([], None),
    {"math_500": suite(0.25), "amc_2023": suite(0.5)},
)


@pytest.mark.parametrize("policy", [EvaluatedPolicy(checkpoint="models/x"), EvaluatedPolicy(run="runs/x", step=8)])
def test_what_is_written_is_what_is_read(policy, tmp_path):
    report = SuiteReport(policy, REPORT.config_hash, REPORT.provenance, REPORT.suites)
    RunDirectory(tmp_path).write_suite_report(report)
    assert RunDirectory(tmp_path).suite_report() == report


def test_names_and_averages():
    values = REPORT.to_json()
    assert values["average"] == {
        "mean@2": 0.375, "pass@2": 0.75, "best@2_with_replacement": 0.625, "maj@2": 0.5,
    }  # fmt: skip
    assert values["suites"]["amc_2023"].items() >= {"mean@2": 0.5, "best@2_with_replacement": 0.625}.items()


def test_a_report_of_an_earlier_version_is_read():
    """Without provenance and the code of each suite."""
    values = REPORT.to_json()
    del values["provenance"], values["suites"]["math_500"]["code"], values["suites"]["amc_2023"]["code"]
    assert SuiteReport.from_json(json.loads(json.dumps(values))).to_json() == values


def test_a_damaged_report(tmp_path):
    values = REPORT.to_json()
    del values["suites"]["amc_2023"]["problems_hash"]
    (tmp_path / "suites.json").write_text(json.dumps(values))
    with pytest.raises(ConfigError, match=r"suites\.json: is damaged \(KeyError\('problems_hash'\)\)"):
        RunDirectory(tmp_path).suite_report()
