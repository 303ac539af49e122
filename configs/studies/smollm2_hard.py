"""smollm2.py on a harder task: SmolLM2-135M-Instruct computes with four one-digit numbers, and multiplies, too.

    make smollm2
    python launch/study.py --study=configs/studies/smollm2_hard.py --workdir=studies/smollm2_hard

The base policy's pass@1 is about .03. Cost on two cores: half an hour. docs/findings.md has the result.
"""

import smollm2

CHANGES = {"evaluation.test_problems": 48, "task.train.path": "4 terms of +-*"}


def get_study():
    """Return the study."""
    return smollm2.study_on(CHANGES, seeds=(1, 2), target=0.05)
