"""The lines of metrics.jsonl: what is written is what is read, and what earlier versions wrote still is."""

import json
import math

import pytest

from grpo_jax.config import ConfigError
from grpo_jax.data import Split
from grpo_jax.runs.directory import RunDirectory
from grpo_jax.runs.lines import (
    EARLIER_NAMES,
    EvaluationLine,
    Measured,
    RunMetrics,
    Scores,
    Share,
    TrainLine,
    WarmStartLine,
)
from tests.helpers import evaluation_line, train_line

# As commit e597795 wrote them.
TRAINING = (
    '{"phase": "train", "step": 8, "kind": "train", "prompts": 64, "rollouts": 128, "reward": 0.25, '
    '"reward/exact": 0.5, "accuracy": 0.25, "valid_pair_share": 0.125, "valid_share_bound": 0.375, '
    '"valid_share_expected": 0.3125, "groups/all_right": 0.125, "groups/all_wrong": 0.75, "groups/unjudged": 0.0, '
    '"groups/truncated": 0.0, "tokens/without_signal": 0.875, "groups/replaced": 0, "groups/surplus": 0, '
    '"unscored": 0, "completion_length": 4.5, "truncated_share": 0.0, "entropy": 0.5, "tokens": 72, '
    '"seconds": 1.5, "tokens_per_second": 100.0, "minibatches": 1, "updates": 8, "clip_share/high": 0.0, '
    '"clip_share/low": 0.0, "grad_norm": 1.5, "learning_rate": 0.001, "loss": 0.0, "nonfinite_in_a_row": 0.0, '
    '"noise/signal": null, "sampler_difference": 1e-06, "sampler_difference/kl": 0.0, '
    '"sampler_difference/mean": 1e-07}'
)
EVALUATION = (
    '{"phase": "train", "step": 8, "kind": "evaluation", "split": "TEST", "pass@1": 0.5, "pass@2": 0.75, '
    '"mean@2": 0.5, "maj@2": 0.25, "interval": {"pass@1": [0.25, 0.75], "pass@2": [0.5, 1.0], '
    '"mean@2": [0.25, 0.75], "maj@2": [0.0, 0.5]}, "mean_reward": 0.5, "mean_length": 3.5, "truncated_share": 0.0, '
    '"unscored": 1, "problems": 4, "samples": 2}'
)
# A step of a version before terms, the expected share and resampling.
EARLIEST = (
    '{"phase": "train", "step": 1, "kind": "train", "prompts": 8, "rollouts": 16, "seconds": 1.0, '
    '"tokens_per_second": 5.0, "reward": null, "valid_pair_share": 0.0, "pair_share_bound": null, '
    '"groups/all_right": 0.0, "groups/all_wrong": 1.0, "groups/unjudged": 0.0, "unscored": 16, '
    '"completion_length": 4.0, "truncated_share": 0.0, "entropy": 0.5, "tokens": 64, "minibatches": 0, "updates": 0}'
)


def test_a_step_is_read_as_an_earlier_version_wrote_it():
    """Its numbers are the same, and some have other names now."""
    line = TrainLine.from_json(json.loads(TRAINING))
    assert (line.step, line.prompts, line.rollouts, line.updates, line.seconds) == (8, 64, 128, 8, 1.5)
    assert (line.sampled.all_wrong, line.sampled.without_signal, line.sampled.tokens) == (0.75, 0.875, 72)
    assert line.sampled.terms == {"exact": 0.5}
    assert line.measured[Measured.GRADIENT_NORM] == 1.5
    assert math.isnan(line.measured["noise/signal"])
    assert (line.sampled.signal_share, line.sampled.signal_share_bound) == (0.125, 0.375)
    assert line.sampled.signal_share_expected == 0.3125
    earlier = {EARLIER_NAMES.get(name, name): value for name, value in json.loads(TRAINING).items()}
    written = line.to_json()
    assert written.pop("staleness") == 0  # they had no delay
    assert written.keys() == earlier.keys()
    assert {name: value for name, value in written.items() if name != "noise/signal"} == {
        name: value for name, value in earlier.items() if value is not None
    }
    again = TrainLine.from_json(written)
    assert (again.sampled, again.measured.keys()) == (line.sampled, line.measured.keys())


def test_an_evaluation_is_read_and_written_as_before():
    line = EvaluationLine.from_json(json.loads(EVALUATION))
    first = Share(0.5, 0.25, 0.75)
    assert line == EvaluationLine(
        8, "TEST", Scores([first, Share(0.75, 0.5, 1.0)], first, Share(0.25, 0.0, 0.5), 0.5, 3.5, 0.0, 1, 4)
    )
    assert line.to_json() == json.loads(EVALUATION)


def test_what_the_earliest_version_did_not_write():
    sampled = TrainLine.from_json(json.loads(EARLIEST)).sampled
    assert (sampled.replaced, sampled.surplus, sampled.unscored, sampled.signal_share) == (0, 0, 16, 0)
    assert math.isnan(sampled.reward)
    assert math.isnan(sampled.signal_share_expected)


def test_the_lines_of_a_run(tmp_path):
    """Those of the warm start are not among them; what is not finite is null in the file."""
    directory = RunDirectory(tmp_path)
    directory.create()
    directory.append_metrics(WarmStartLine(1, 0.5))
    directory.append_metrics(evaluation_line(0, 0.25, "TEST"))
    directory.append_metrics(train_line(1, {"tokens": 5}, measured={"loss": math.inf}))
    directory.append_metrics(evaluation_line(1, 0.5))
    directory.append_metrics(train_line(2, {"tokens": 7}, measured={"loss": math.nan}))
    directory.close()
    texts = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(text).get("loss", "none") for text in texts] == [0.5, "none", None, "none", None]
    found = RunDirectory(tmp_path).metrics()
    assert [line.step for line in found.training] == [1, 2]
    assert found.of_split(Split.TEST) == [evaluation_line(0, 0.25, "TEST")]
    assert found.of_split(Split.VALIDATION) == [evaluation_line(1, 0.5)]


@pytest.mark.parametrize(
    ("budget", "spent"),
    [("prompts", [0, 1, 3]), ("rollouts", [0, 2, 6]), ("tokens", [0, 5, 18]), ("seconds", [0, 1.0, 3.0])],
)
def test_what_was_spent_by_an_evaluation(budget, spent):
    """A line counts the tokens of its own step only; other budgets are running totals."""
    training = [train_line(step, {"tokens": tokens}) for step, tokens in ((1, 5), (2, 6), (3, 7))]
    evaluations = [evaluation_line(step, 0.5) for step in (0, 1, 3)]
    assert RunMetrics(training, evaluations).spent(budget, evaluations) == spent


@pytest.mark.parametrize("line", [TRAINING.replace('"prompts"', '"p"'), EVALUATION.replace('"pass@2"', '"p"'), "[]"])
def test_a_damaged_line(line, tmp_path):
    (tmp_path / "metrics.jsonl").write_text(f"{line}\n")
    with pytest.raises(ConfigError, match=r"metrics\.jsonl: a line is damaged \("):
        RunDirectory(tmp_path).metrics()
