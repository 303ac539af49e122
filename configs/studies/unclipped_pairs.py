"""Studies of how pairs are weighted, such as objectives.py: arms against 2-GRPO, for 38,400 rollouts each.

The gradient's norm is not clipped. Adam removes a constant factor of the gradient anyway, but clipping would remove it
in some updates and not in others.
"""

# So few that a run of 38,400 rollouts samples each about nine times, for what learns from a prompt's earlier results.
FEW_PROBLEMS = {"task.train_problems": 2048}


def against_two_grpo(question, arms, shared=None):
    """Return a study whose arms differ from 2-GRPO by overrides, and whose baseline is 2-GRPO itself."""
    return {
        "question": question,
        "seeds": (0, 1, 2, 3, 4),
        "baseline": "2-GRPO",
        "matched": "rollouts",
        "comparisons": {"rollouts": (6400, 12800, 25600, 38400)},
        "targets": (0.7, 0.9),
        "shared": {"train.steps": 600, "evaluation.every": 20, "optimizer.clip_norm": "inf", **(shared or {})},
        "arms": {
            name: {"config": "configs/two_grpo.py", "overrides": overrides}
            for name, overrides in {"2-GRPO": {}, **arms}.items()
        },
    }
