"""The paper's evaluation (arXiv 2510.00977, section 5): Mean@32 and Pass@32 on its five suites.

    python launch/evaluate.py --config=configs/paper/evaluation.py --suites=data/suites --workdir=evaluations/base

Stated by the paper, and set here: 32 samples of each problem, T=.7, top-p .8, top-k 20, up to 4,096 tokens, and the
words behind the question. docs/evaluation.md says where the suites come from. Not run at its full size here.
"""

import paper
from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """Return the configuration."""
    config = paper.get_config()
    # Any other, as --config.model.checkpoint=DIR; or --run=RUN, and then this is not read.
    config.model.architecture = None  # as the checkpoint says
    config.model.attention = "plain"  # only prompts go through it at once; for any device and dtype
    config.task.reward.workers = 8
    # As most graders of these suites have it: what equals the gold answer is right, be it the question over again.
    config.task.reward.terms = ConfigDict({"mathematics_any_form": 1.0})
    config.rollout.max_new_tokens = 4096
    config.evaluation.test_samples = 32
    # 256 samples at once, whose keys and values take up to 30 GB with Qwen2.5-Math-1.5B: for 1 to 8 devices.
    config.evaluation.prompts_per_batch = 8
    # Each device has the whole policy; fsdp or tensor above 1 share one that is too large for that.
    config.mesh.fsdp = config.mesh.tensor = 1
    return config
