"""The command `grpo export`, for a checkout; grpo_jax/commands/export.py says what it does."""

from grpo_jax.commands import run

if __name__ == "__main__":
    run("export")
