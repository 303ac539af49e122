"""2-GRPO with resampling on DeepSeek-R1-Distill-Qwen-1.5B: the paper's "2-GRPO+RS".

    python launch/main.py --config=configs/paper/deepseek_r1_distill_qwen_1_5b_2grpo_resampled.py --workdir=runs/paper

Groups without signal are replaced by fresh prompts until all 512 carry signal, or 8,192 rollouts have been sampled.
"""

import paper
from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """Return the configuration, described in paper.py."""
    return paper.get_config("DeepSeek-R1-Distill-Qwen-1.5B", group_size=2, resample=True)
