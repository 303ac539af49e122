"""smollm2.py on an easier task: SmolLM2-135M-Instruct names the larger of two numbers of two digits.

    make smollm2
    python launch/study.py --study=configs/studies/smollm2_easy.py --workdir=studies/smollm2_easy

The base policy's pass@1 is about .23. Cost on two cores: half an hour. docs/findings.md has the result.
"""

import smollm2

# 1,600 of the 8,010 questions such as "Which is larger, 41 or 78?".
CHANGES = {
    "evaluation.test_problems": 48,
    "task.train.kind": "jsonl",
    "task.train.path": "configs/studies/larger.jsonl",
}


def get_study():
    """Return the study."""
    return smollm2.study_on(CHANGES, seeds=(1, 2), target=0.5)
