"""The command `grpo regrade`, for a checkout; grpo_jax/commands/regrade.py says what it does."""

from grpo_jax.commands import run

if __name__ == "__main__":
    run("regrade")
