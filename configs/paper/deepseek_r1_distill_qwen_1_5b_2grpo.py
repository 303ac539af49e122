"""2-GRPO on DeepSeek-R1-Distill-Qwen-1.5B and MATH: the paper's run.

    python launch/main.py --config=configs/paper/deepseek_r1_distill_qwen_1_5b_2grpo.py --workdir=runs/paper

The paper's MATH-500, Mean@32: 65.11 before, 74.36 after 7.07 hours on its GPUs. Not run here.
"""

import paper
from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """Return the configuration, described in paper.py."""
    return paper.get_config("DeepSeek-R1-Distill-Qwen-1.5B", group_size=2)
