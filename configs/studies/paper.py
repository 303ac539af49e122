"""The paper's comparison: does 2-GRPO keep 97.6 % of 16-GRPO's accuracy with 12.5 % of its rollouts?

    python launch/study.py --study=configs/studies/paper.py --workdir=studies/paper

Both see the same 38,400 prompts, 32 per step, so pairs sample an eighth of the rollouts. The learning rates were chosen
on the validation split (learning_rates.py). Both are evaluated every 1,024 rollouts, so both curves are equally fine at
equal rollouts. Cost on two cores: about a quarter of an hour. docs/findings.md has the result.
"""


def get_study():
    """Return the study."""
    return {
        "question": "Does 2-GRPO keep 97.6 % of 16-GRPO's accuracy with 12.5 % of its rollouts and 21 % of its time?",
        "seeds": (0, 1, 2, 3, 4),
        "baseline": "16-GRPO",
        "matched": "prompts",
        "comparisons": {
            "prompts": (1600, 4800, 9600, 19200, 38400),
            "rollouts": (6400, 12800, 38400, 76800),
            "seconds": (5, 10, 15),
        },
        "targets": (0.7, 0.9),
        "shared": {"train.steps": 1200, "checkpoint.every": 96},
        "arms": {
            "2-GRPO": {"config": "configs/two_grpo.py", "overrides": {"evaluation.every": 16}},
            "16-GRPO": {"config": "configs/grpo_16.py", "overrides": {"evaluation.every": 2}},
        },
    }
