"""2-GRPO on SmolLM2-135M-Instruct that trains low-rank adapters instead of all parameters.

    make smollm2
    python launch/main.py --config=configs/smollm2_135m_lora.py --workdir=runs/smollm2_135m_lora
    python launch/export.py --workdir=runs/smollm2_135m_lora --to=models/smollm2_135m_adapters --adapters

4.9 of 135 million parameters are trained. This configuration has not been run at full length here.
"""

import smollm2_135m
from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """Return the configuration."""
    config = smollm2_135m.get_config()
    config.model.lora = ConfigDict({"rank": 16, "alpha": 32.0})  # in all modules of every layer
    config.optimizer.learning_rate = 2e-4  # adapters need about ten times the rate of full training
    return config
