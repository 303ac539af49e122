"""Learning rates for smollm2_lora.py, chosen on the validation split with a seed that the other study does not use.

    make smollm2
    python launch/study.py --study=configs/studies/smollm2_lora_rates.py --workdir=studies/smollm2_lora_rates

Cost on two cores: half an hour. It has not been run yet.
"""

import smollm2
import smollm2_rates


def arm(size, rate):
    """Return the arm of a group size that trains adapters with a learning rate."""
    return smollm2_rates.arm(size, rate, config="configs/smollm2_135m_lora.py")


def get_study():
    """Return the study."""
    arms = {f"{size}, {rate}": arm(size, float(rate)) for size in smollm2_rates.SIZES for rate in ("2e-4", "4e-4")}
    return {
        **smollm2.study_on({"evaluation.test_samples": 1}, seeds=(0,), arms=arms),
        "question": "Which learning rates do adapters need, in pairs and in groups of sixteen?",
        "baseline": "16-GRPO, 2e-4",
    }
