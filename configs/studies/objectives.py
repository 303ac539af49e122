"""Objectives on pairs: online DPO, IPO, SimPO and RLOO against 2-GRPO.

    python launch/study.py --study=configs/studies/objectives.py --workdir=studies/objectives

38,400 rollouts, all at the learning rate that was chosen for 2-GRPO. Adam undoes a constant factor of the gradient, and
its norm is not clipped, which would not: so what differs is where each pair's weight goes. Cost on two cores: about ten
minutes.
"""


def get_study():
    """The study; see the module."""
    names = {"RLOO": "rloo", "online DPO": "online_dpo", "IPO": "ipo", "SimPO": "simpo"}
    arm = {"config": "configs/two_grpo.py"}
    return {
        "question": "Is 2-GRPO more than online preference learning on valid pairs?",
        "seeds": (0, 1, 2, 3, 4),
        "baseline": "2-GRPO",
        "matched": "rollouts",
        "comparisons": {"rollouts": (6400, 12800, 25600, 38400)},
        "targets": (0.7, 0.9),
        "shared": {"train.steps": 600, "evaluation.every": 20, "optimizer.clip_norm": "inf"},
        "arms": {
            "2-GRPO": {**arm, "overrides": {}},
            **{name: {**arm, "overrides": {"objective.name": key}} for name, key in names.items()},
        },
    }
