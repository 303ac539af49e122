"""summary.json: made of a run's metrics, and read as it was written, by earlier versions too."""

import json

import pytest

from grpo_jax.config import ConfigError
from grpo_jax.runs.directory import RunDirectory
from grpo_jax.runs.provenance import Provenance
from grpo_jax.runs.starts import this_start
from grpo_jax.runs.summary import ProcessUse, Summary, summarize_run
from tests.helpers import ROOT, evaluation_line, make_config, summary_of, train_line

EARLIER = ROOT / "tests" / "fixtures" / "study" / "runs" / "2-grpo" / "seed_0" / "summary.json"


def test_the_share_of_groups_with_signal_is_of_all_that_were_sampled():
    """With resampling steps differ in size: 32 of 64 and 24 of 256 are 56 of 320, not the mean of their shares."""
    config = make_config()
    tests = {step: evaluation_line(step, 0.5, "TEST").scores for step in (0, config.train.steps)}
    training = [
        train_line(step, {"signal_share": share}, prompts=prompts)
        for step, prompts, share in ((1, 64, 32 / 64), (2, 320, 24 / 256))
    ]
    found = summarize_run(config, training, tests, {"total": 1.0}, updates=2)
    assert found.signal_share == pytest.approx(56 / 320)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"provenance": Provenance([this_start()], None)},
        {"steps": None},
        {"seconds_to_first_step": 4.5, "peak_bytes": {"host": 1}, "lanes": 16},
        {"processes": [ProcessUse("a", {"total": 2.0}, 0.5, 3, {0: 7}), ProcessUse("b", {"total": 2.5}, 0.0, 4, {})]},
    ],
)
def test_what_is_written_is_what_is_read(changes):
    summary = summary_of(0.25, 0.5, **changes)
    assert Summary.from_json(json.loads(json.dumps(summary.to_json()))) == summary


def test_a_summary_of_an_earlier_version_is_read():
    """As commit e597795 wrote it: another name for the share of groups with signal, and no steps."""
    values = json.loads(EARLIER.read_text())
    found = Summary.from_json(values)
    assert found.signal_share == values["valid_pair_share"] == 0.1875
    assert (found.steps, found.provenance) == (None, None)
    assert Summary.from_json(values | {"provenance": {}}) == found
    assert found.to_json() == {
        "signal_share" if name == "valid_pair_share" else name: value for name, value in values.items()
    }


def test_a_damaged_summary(tmp_path):
    values = summary_of(0.25, 0.5).to_json()
    del values["final"]["k"]
    (tmp_path / "summary.json").write_text(json.dumps(values))
    with pytest.raises(ConfigError, match=r"summary\.json: is damaged \(KeyError\('k'\)\)"):
        RunDirectory(tmp_path).summary()
