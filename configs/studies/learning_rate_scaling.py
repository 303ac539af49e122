"""2-GRPO at learning rates from 1e-4 to 8e-4.

    python launch/study.py --study=configs/studies/learning_rate_scaling.py --workdir=studies/learning_rate_scaling

38,400 rollouts. Cost on two cores: about ten minutes.
"""


def get_study():
    """Return the study."""
    rates = ("1e-4", "2e-4", "4e-4", "8e-4")
    return {
        "question": "How far can the learning rate of pairs be raised?",
        "seeds": (0, 1, 2, 3, 4),
        "baseline": "2e-4",
        "matched": "rollouts",
        "comparisons": {"rollouts": (6400, 12800, 25600, 38400)},
        "targets": (0.7, 0.9),
        "shared": {"train.steps": 600, "evaluation.every": 20},
        "arms": {
            rate: {"config": "configs/two_grpo.py", "overrides": {"optimizer.learning_rate": rate}} for rate in rates
        },
    }
