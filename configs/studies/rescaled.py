"""2-GRPO with its advantage divided by an estimate of sqrt(p(1-p)): the weighting of prompts that large groups have.

    python launch/study.py --study=configs/studies/rescaled.py --workdir=studies/rescaled

38,400 rollouts. The gradient's norm is not clipped, which would undo the factor in some updates and not in others. Cost
on two cores: about five minutes.
"""


def get_study():
    """The study; see the module."""
    arm = {"config": "configs/two_grpo.py"}
    rescaled = {"objective.name": "two_grpo_rescaled"}
    return {
        "question": "Does the factor 1/sqrt(p(1-p)), which pairs lack and large groups have, help pairs?",
        "seeds": (0, 1, 2, 3, 4),
        "baseline": "2-GRPO",
        "matched": "rollouts",
        "comparisons": {"rollouts": (6400, 12800, 25600, 38400)},
        "targets": (0.7, 0.9),
        "shared": {"train.steps": 600, "evaluation.every": 20, "optimizer.clip_norm": "inf"},
        "arms": {
            "2-GRPO": {**arm, "overrides": {}},
            "rescaled": {**arm, "overrides": rescaled},
            "rescaled, floor .2": {**arm, "overrides": {**rescaled, "objective.parameters.floor": 0.2}},
        },
    }
