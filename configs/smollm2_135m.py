"""2-GRPO on SmolLM2-135M-Instruct and one-digit arithmetic: a real language model on two CPU cores.

    make smollm2
    python launch/main.py --config=configs/smollm2_135m.py --workdir=runs/smollm2_135m

Cost: an hour on one shared CPU core, and 6 GB of memory.
Expected: test pass@1 rises from about .05 to .17 and .23 after 20,480 rollouts (seeds 0 and 1); see docs/results.md.

The learning rate is half of the first one tried. At 2e-5, with another wording of the question, the policy settled on
its first answers, and seed 1 reached .07 to .10 after 70 steps.
"""

from ml_collections import ConfigDict

from grpo_jax.config import with_defaults


def get_config() -> ConfigDict:
    """Return the configuration."""
    return with_defaults(
        {
            "task": {
                "name": "questions",
                "train": {"kind": "arithmetic", "path": "3 terms of +-"},  # such as "3 + 4 - 2 ="; there are 4,000
                "template": "State only the final answer: {question}",
                "max_prompt_tokens": 48,
                "reward": {
                    "answer_pattern": r"(-?\d+)",  # the last number, since this model seldom writes a \boxed{}
                    "max_characters": 100,
                    "seconds": 3.0,
                },
            },
            "model": {"checkpoint": "models/smollm2_135m_instruct"},  # made by `make smollm2`
            "rollout": {"prompts_per_step": 64, "prompts_per_batch": 64, "max_new_tokens": 16},
            "optimizer": {"learning_rate": 1e-5},
            "train": {"steps": 160, "microbatch_groups": 2},
            "evaluation": {
                "every": 40,
                "validation_problems": 128,
                "validation_samples": 2,
                "test_problems": 256,  # of 257, a sixteenth of all
                "test_samples": 4,
                "prompts_per_batch": 64,
            },
            "checkpoint": {"every": 40, "keep_last": 1},
        }
    )
