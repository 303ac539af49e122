"""smollm2.py with low-rank adapters instead of all parameters.

    make smollm2
    python launch/study.py --study=configs/studies/smollm2_lora.py --workdir=studies/smollm2_lora

smollm2_lora_rates.py chose the learning rates. Cost on two cores: half an hour. It has not been run yet.
"""

import smollm2
from smollm2_lora_rates import arm


def get_study():
    """Return the study."""
    return smollm2.study_on(
        {"evaluation.test_problems": 48},
        seeds=(1, 2),
        arms={"2-GRPO": arm("2-GRPO", 2e-4), "16-GRPO": arm("16-GRPO", 4e-4)},
    )
