"""2-GRPO on Qwen2.5-Math-1.5B and MATH with a vLLM server as the rollout engine, on one machine with GPUs.

    python launch/main.py --config=configs/paper/qwen2_5_math_1_5b_2grpo_vllm.py --workdir=runs/paper

docs/engines.md says how to start the server. Give it some of the GPUs and the trainer four others, both by
CUDA_VISIBLE_DEVICES. Not run here.
"""

import paper
from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """Return the configuration, described in paper.py, with what a server needs."""
    config = paper.get_config("Qwen2.5-Math-1.5B", group_size=2)
    config.rollout.engine = ConfigDict({"weights": "/dev/shm/grpo_jax"})
    config.rollout.prompts_per_batch = 64  # judged while the server samples the others
    config.objective.importance_cap = 2.0  # between the server's policy and the trainer's
    config.train.microbatch_groups = 8
    config.mesh = ConfigDict({"fsdp": 4})
    return config
