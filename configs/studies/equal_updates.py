"""Pairs against groups of sixteen at equal updates of equally many rollouts: 256 pairs, or 32 groups of sixteen.

    python launch/study.py --study=configs/studies/equal_updates.py --workdir=studies/equal_updates

So rollouts are equal, too, and pairs see eight times as many prompts. The paper gives pairs eight times the learning
rate of groups of sixteen. Here that is 6.4e-3, beside 8e-4, the rate of 16-GRPO. Cost on two cores: about ten minutes.
docs/findings.md has the result.
"""


def get_study():
    """Return the study."""
    pairs = {"rollout.prompts_per_step": 256, "rollout.prompts_per_batch": 256, "train.steps": 150}
    pairs |= {"checkpoint.every": 50}
    return {
        "question": "Do pairs match groups of sixteen at equal updates of equally many rollouts?",
        "seeds": (0, 1, 2, 3, 4),
        "baseline": "16-GRPO",
        "matched": "updates",
        "comparisons": {"updates": (12, 25, 50, 75, 150)},
        "targets": (0.7, 0.9),
        "shared": {"evaluation.every": 2},
        "arms": {
            "16-GRPO": {"config": "configs/grpo_16.py", "overrides": {}},
            "2-GRPO, 8e-4": {
                "config": "configs/two_grpo.py",
                "overrides": {**pairs, "optimizer.learning_rate": 8e-4},
            },
            "2-GRPO, 6.4e-3": {
                "config": "configs/two_grpo.py",
                "overrides": {**pairs, "optimizer.learning_rate": 6.4e-3},
            },
        },
    }
