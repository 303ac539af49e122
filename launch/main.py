"""The command `grpo train` in a checkout: see grpo_jax/commands/train.py."""

from grpo_jax.commands import run

if __name__ == "__main__":
    run("train")
