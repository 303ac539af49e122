"""Rewards between 0 and 1: a wrong completion is rewarded for its right lines. Pairs use only the sign, or differences.

    python launch/study.py --study=configs/studies/continuous.py --workdir=studies/continuous

In all arms accuracy means right or wrong, and tokens are averaged in the same way. 38,400 rollouts. Cost on two cores:
about ten minutes.
"""

import group_sizes


def get_study():
    """Return the study."""
    pairs = {"config": "configs/two_grpo.py"}
    sizes = group_sizes.arms(rollouts=38400)
    partial = {"task.credit": "partial"}
    sixteen = {**sizes["G = 16"], "overrides": {**sizes["G = 16"]["overrides"], **partial}}
    return {
        "question": "What do partial credit, and pairs that become signs, do to learning?",
        "seeds": (0, 1, 2, 3, 4),
        "baseline": "pairs, signs of credit",
        "matched": "rollouts",
        "comparisons": {"rollouts": (4800, 9600, 19200, 38400)},
        "targets": (0.7, 0.9),
        "shared": {"train.steps": 600, "evaluation.every": 20, "objective.aggregation": "sequence"},
        "arms": {
            "pairs, right or wrong": {**pairs, "overrides": {}},
            "pairs, signs of credit": {**pairs, "overrides": partial},
            "pairs, differences of credit": {**pairs, "overrides": {**partial, "objective.name": "rloo"}},
            "G = 16, credit": sixteen,
        },
    }
