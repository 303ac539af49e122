"""smollm2.py on a task of reasoning-gym: SmolLM2-135M-Instruct finds the greatest common divisor of two numbers.

    make smollm2
    python launch/study.py --study=configs/studies/smollm2_gcd.py --workdir=studies/smollm2_gcd    # needs reasoning-gym

The base policy's pass@1 is about .11. Cost on two cores: half an hour. It has not been run yet.
"""

import smollm2

CHANGES = {
    "evaluation.test_problems": 48,
    "task.train.kind": "reasoning_gym",
    "task.train.path": "gcd?seed=0&max_value=50",
    "task.train.limit": 4000,  # records, of which many repeat an earlier question and are left out
    "task.train.prompt_field": "question",
    "task.train.answer_field": "answer",
    "task.max_prompt_tokens": 128,
}


def get_study():
    """Return the study."""
    return smollm2.study_on(CHANGES, seeds=(1, 2), target=0.2)
