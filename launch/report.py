"""The command `grpo report`, for a checkout; grpo_jax/commands/report.py says what it does."""

from grpo_jax.commands import run

if __name__ == "__main__":
    run("report")
