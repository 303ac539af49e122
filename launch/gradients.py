"""The command `grpo gradients` in a checkout: see grpo_jax/commands/gradients.py."""

from grpo_jax.commands import run

if __name__ == "__main__":
    run("gradients")
