"""The command `grpo evaluate`, for a checkout; grpo_jax/commands/evaluate.py says what it does."""

from grpo_jax.commands import run

if __name__ == "__main__":
    run("evaluate")
