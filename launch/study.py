"""The command `grpo study`, for a checkout; grpo_jax/commands/study.py says what it does."""

from grpo_jax.commands import run

if __name__ == "__main__":
    run("study")
