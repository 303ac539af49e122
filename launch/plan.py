"""The command `grpo plan`, for a checkout; grpo_jax/commands/plan.py says what it does."""

from grpo_jax.commands import run

if __name__ == "__main__":
    run("plan")
