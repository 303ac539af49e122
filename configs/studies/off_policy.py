"""Pairs from the newest policy against pairs from one that is a step or two older.

    python launch/study.py --study=configs/studies/off_policy.py --workdir=studies/off_policy

Without truncated weights the ratio is to the policy that sampled, and its clip bounds how far the newest policy may be
from that one. With them the ratio is to the policy before the update, and each token is weighed by its probability
under that policy, divided by the sampler's, at most 2 (docs/objectives.md). At a delay of 0 these weights are 1 up to
rounding. off_policy_16.py asks the same of groups of sixteen.
"""

WEIGHTS = {"": {}, ", truncated weights": {"objective.old_logprobs": "trainer", "objective.importance_cap": 2.0}}


def get_study():
    """Return the study."""
    return study("configs/two_grpo.py", {"evaluation.every": 40, "checkpoint.every": 200})


def study(config, schedule):
    """Return the study of a config file, with a schedule of one evaluation in 2,560 rollouts."""
    return {
        "question": "What is lost if samples are one or two steps old, with and without truncated weights?",
        "seeds": (0, 1, 2, 3, 4),
        "baseline": "delay 0",
        "matched": "rollouts",
        "comparisons": {"rollouts": (12800, 25600, 38400, 76800)},
        "targets": (0.7, 0.9),
        "varies": ("rollout.delay",),
        "shared": schedule,
        "arms": {
            f"delay {delay}{name}": {"config": config, "overrides": {"rollout.delay": delay, **changes}}
            for delay in (0, 1, 2)
            for name, changes in WEIGHTS.items()
        },
    }
