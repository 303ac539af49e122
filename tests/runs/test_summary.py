"""summary.json, from a run's metrics."""

import pytest

from grpo_jax.runs.summary import summarize_run
from tests.helpers import make_config

RESULT = {"samples": 1, "pass@1": 0.5, "maj@1": 0.5, "mean_length": 3.0, "truncated_share": 0.0, "problems": 4}


def test_the_share_of_groups_with_signal_is_of_all_that_were_sampled():
    """With resampling steps differ in size: 32 of 64 and 24 of 256 are 56 of 320, not the mean of their shares."""
    config = make_config()
    tests = [
        {**RESULT, "kind": "evaluation", "split": "TEST", "step": step, "interval": {"pass@1": [0.3, 0.7]}}
        for step in (0, config.train.steps)
    ]
    training = [
        {"kind": "train", "step": step, "prompts": prompts, "rollouts": 2 * prompts, "valid_pair_share": share}
        for step, prompts, share in ((1, 64, 32 / 64), (2, 320, 24 / 256))
    ]
    found = summarize_run(config, [*tests, *training], {"total": 1.0}, updates=2)
    assert found["valid_pair_share"] == pytest.approx(56 / 320)
