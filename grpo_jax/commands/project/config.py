"""2-GRPO on the questions of this folder, with the reward in rewards.py. README.md has the commands.

These values suit a small model on a CPU. Only what differs from the defaults is here; --print-config prints all fields.
"""

from ml_collections import ConfigDict

from grpo_jax.config import with_defaults


def get_config() -> ConfigDict:
    """Return the configuration."""
    return with_defaults(
        {
            "task": {
                "name": "questions",
                "train": {
                    "kind": "jsonl",
                    "path": "questions.jsonl",
                },  # some are held out
                "template": "{question}\nState only the final answer.",
                "max_prompt_tokens": 128,
                "reward": {
                    "terms": {"rewards:last_number": 1.0},  # or mathematics, exact, numeric, ...
                    "answer_pattern": r"(-?\d+)",  # what majority votes count: the last number
                },
            },
            "model": {"checkpoint": "model"},  # a directory in Hugging Face's format
            "rollout": {"prompts_per_step": 8, "prompts_per_batch": 8, "max_new_tokens": 16},
            "optimizer": {"learning_rate": 1e-5},
            "train": {"steps": 40},
            "evaluation": {"every": 10, "validation_problems": 0, "test_problems": 0, "prompts_per_batch": 8},  # 0: all
            "checkpoint": {"every": 10, "keep_last": 1},
        }
    )
