"""Fixed Q against scaled Q: 32 pairs per update, or 256, which have as many rollouts as 16-GRPO's 32 groups.

    python launch/study.py --study=configs/studies/batch_size.py --workdir=studies/batch_size

The paper scales the learning rate with the batch (256 pairs at 8e-6, 32 groups of sixteen at 1e-6). For a batch eight
times as large, this study tries 8e-4, the rate of 16-GRPO, and 4e-4. Cost on two cores: about ten minutes.
"""


def get_study():
    """Return the study."""
    scaled = {"rollout.prompts_per_step": 256, "rollout.prompts_per_batch": 256, "train.steps": 150}
    scaled |= {"evaluation.every": 2, "checkpoint.every": 50, "optimizer.learning_rate": 8e-4}
    arm = {"config": "configs/two_grpo.py"}
    return {
        "question": "Should a batch of pairs match a batch of large groups in prompts, or in rollouts?",
        "seeds": (0, 1, 2, 3, 4),
        "baseline": "Q = 32",
        "matched": "rollouts",
        "comparisons": {"rollouts": (12800, 25600, 38400, 76800)},
        "targets": (0.7, 0.9),
        "shared": {"evaluation.every": 20},
        "arms": {
            "Q = 32": {**arm, "overrides": {}},
            "Q = 256, 4e-4": {**arm, "overrides": {**scaled, "optimizer.learning_rate": 4e-4}},
            "Q = 256, 8e-4": {**arm, "overrides": scaled},
        },
    }
