"""Learning rates for smollm2.py, chosen on the validation split with a seed that the other study does not use.

    make smollm2
    python launch/study.py --study=configs/studies/smollm2_rates.py --workdir=studies/smollm2_rates

6,144 rollouts each. Cost on two cores: about an hour. docs/findings.md has the result.
"""

# 128 completions per step: pairs of 64 prompts, or sixteen of 8.
SIXTEEN = {
    "objective.name": "grpo",
    "rollout.group_size": 16,
    "rollout.prompts_per_step": 8,
    "rollout.prompts_per_batch": 8,
    "train.microbatch_groups": 1,
}
SIZES = {"2-GRPO": {}, "16-GRPO": SIXTEEN}
SCHEDULE = {
    "evaluation.every": 12,
    "evaluation.validation_problems": 128,
    "evaluation.validation_samples": 2,
    "evaluation.test_problems": 96,
    "evaluation.test_samples": 16,
    "checkpoint.every": 24,
    "checkpoint.keep_last": 2,
}


def arm(size, rate, config="configs/smollm2_135m.py"):
    """Return the arm of a group size with a learning rate."""
    return {"config": config, "overrides": {**SIZES[size], "optimizer.learning_rate": rate}}


def get_study():
    """Return the study."""
    return {
        "question": "Which learning rates do pairs and groups of sixteen need on SmolLM2-135M-Instruct?",
        "seeds": (0,),
        "baseline": "16-GRPO, 1e-5",
        "matched": "rollouts",
        "comparisons": {"rollouts": (1536, 3072, 4608, 6144)},
        "targets": (0.1, 0.15),
        "shared": {**SCHEDULE, "train.steps": 48},
        "arms": {f"{size}, {rate}": arm(size, float(rate)) for size in SIZES for rate in ("1e-5", "2e-5")},
    }
