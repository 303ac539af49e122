"""summary.json, from a run's metrics."""

import pytest

from grpo_jax.runs.lines import RunMetrics
from grpo_jax.runs.summary import summarize_run
from tests.helpers import evaluation_line, make_config, train_line


def test_the_share_of_groups_with_signal_is_of_all_that_were_sampled():
    """With resampling steps differ in size: 32 of 64 and 24 of 256 are 56 of 320, not the mean of their shares."""
    config = make_config()
    tests = [evaluation_line(step, 0.5, "TEST") for step in (0, config.train.steps)]
    training = [
        train_line(step, {"signal_share": share}, prompts=prompts)
        for step, prompts, share in ((1, 64, 32 / 64), (2, 320, 24 / 256))
    ]
    found = summarize_run(config, RunMetrics(training, tests), {"total": 1.0}, updates=2)
    assert found["valid_pair_share"] == pytest.approx(56 / 320)
