"""The paper's evaluation (arXiv 2510.00977, section 5): Mean@32 and Pass@32 on its five suites.

    python launch/evaluate.py --config=configs/paper/evaluation.py --suites=data/suites --workdir=evaluations/base

The paper states, and this file sets: 32 samples of each problem, T=.7, top-p .8, top-k 20, up to 4,096 tokens, and the
words after the question. docs/evaluation.md says where to get the suites. This configuration has not been run at full
size here.
"""

import paper
from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """Return the configuration."""
    config = paper.get_config()
    config.model.architecture = None  # read from the checkpoint, so that --config.model.checkpoint=DIR can be any model
    config.model.attention = "plain"  # works on any device and dtype, and only prompts are that long here
    config.task.reward.workers = 8
    # Like most graders of these suites: any answer that equals the gold answer is right, even a copy of the question.
    config.task.reward.terms = ConfigDict({"mathematics_any_form": 1.0})
    config.rollout.max_new_tokens = 4096
    config.evaluation.test_samples = 32
    # 256 samples at once, whose keys and values take up to 30 GB with Qwen2.5-Math-1.5B. For 1 to 8 devices.
    config.evaluation.prompts_per_batch = 8
    # Each device has the whole policy. Raise fsdp or tensor to shard a policy that is too large for that.
    config.mesh.fsdp = config.mesh.tensor = 1
    return config
