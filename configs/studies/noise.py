"""Noise within the pair: independent, antithetic (u and 1-u), or common up to a branching point.

    python launch/study.py --study=configs/studies/noise.py --workdir=studies/noise

Coupled noise biases the gradient; grpo_jax/sampling/noise.py derives the bias. 38,400 rollouts. Cost on two cores:
about five minutes.
"""


def get_study():
    """Return the study."""
    kinds = ("independent", "antithetic", "common")
    return {
        "question": "Should the two completions of a pair share their noise?",
        "seeds": (0, 1, 2, 3, 4),
        "baseline": "independent",
        "matched": "rollouts",
        "comparisons": {"rollouts": (6400, 12800, 25600, 38400)},
        "targets": (0.7, 0.9),
        "shared": {"train.steps": 600, "evaluation.every": 20},
        "arms": {kind: {"config": "configs/two_grpo.py", "overrides": {"rollout.noise": kind}} for kind in kinds},
    }
