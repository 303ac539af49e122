"""The command `grpo replay`, for a checkout; grpo_jax/commands/replay.py says what it does."""

from grpo_jax.commands import run

if __name__ == "__main__":
    run("replay")
