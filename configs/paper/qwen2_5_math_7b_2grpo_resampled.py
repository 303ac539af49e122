"""2-GRPO with resampling on Qwen2.5-Math-7B: the paper's "2-GRPO+RS".

    python launch/main.py --config=configs/paper/qwen2_5_math_7b_2grpo_resampled.py --workdir=runs/paper

Groups without signal are replaced by fresh prompts until all 512 carry signal, or 8,192 rollouts have been sampled.
"""

import paper
from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """Return the configuration, described in paper.py."""
    return paper.get_config("Qwen2.5-Math-7B", group_size=2, resample=True)
