"""Pairs against groups of sixteen on a real language model: SmolLM2-135M-Instruct adds three one-digit numbers.

    make smollm2
    python launch/study.py --study=configs/studies/smollm2.py --workdir=studies/smollm2

The base policy's pass@1 is about .05. Both arms sample 128 completions per step, 3,072 in all; smollm2_rates.py chose
their learning rates. Cost on two cores: about an hour. docs/findings.md has the result.
"""

import smollm2_rates

ARMS = {"2-GRPO": smollm2_rates.arm("2-GRPO", 1e-5), "16-GRPO": smollm2_rates.arm("16-GRPO", 2e-5)}


def study_on(changes, *, seeds, target=0.1, arms=ARMS):
    """Return the study with changes, which are fields of the configuration for all arms."""
    return {
        "question": "Do pairs learn as fast as groups of sixteen from the same rollouts of a real language model?",
        "seeds": seeds,
        "baseline": "16-GRPO",
        "matched": "rollouts",
        "comparisons": {"rollouts": (1536, 3072)},
        "targets": (target,),
        "shared": {**smollm2_rates.SCHEDULE, "train.steps": 24, **changes},
        "arms": arms,
    }


def get_study():
    """Return the study."""
    return study_on({}, seeds=(1, 2, 3, 4))
