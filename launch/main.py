"""The command `grpo train`, for a checkout; grpo_jax/commands/train.py says what it does."""

from grpo_jax.commands import run

if __name__ == "__main__":
    run("train")
