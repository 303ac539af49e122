"""The command `grpo gradients`, for a checkout; grpo_jax/commands/gradients.py says what it does."""

from grpo_jax.commands import run

if __name__ == "__main__":
    run("gradients")
