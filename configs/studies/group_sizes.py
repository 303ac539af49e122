"""Arms of GRPO with groups of 2, 4, 8 and 16, for group_size_rollouts.py and group_size_prompts.py.

The learning rates of 2 and 16 were chosen on the validation split. Those of 4 and 8 are interpolated, with a factor of
about sqrt(2) per doubling.
"""

RATES = {2: 2e-4, 4: 3e-4, 8: 5e-4, 16: 8e-4}
MICROBATCH_GROUPS = {2: 4, 4: 2, 8: 1, 16: 1}  # 8 rows, or 16


def arms(*, prompts=0, rollouts=0, evaluations=30):
    """Return an arm for each group size, with this many prompts or rollouts, and 32 prompts a step."""
    made = {}
    for size, rate in RATES.items():
        steps = (prompts or rollouts // size) // 32
        made[f"G = {size}"] = {
            "config": "configs/two_grpo.py",
            "overrides": {
                "objective.name": "grpo",
                "rollout.group_size": size,
                "optimizer.learning_rate": rate,
                "train.steps": steps,
                "train.microbatch_groups": MICROBATCH_GROUPS[size],
                "evaluation.every": max(steps // evaluations, 1),
                "checkpoint.every": max(steps // evaluations, 1),
            },
        }
    return made
