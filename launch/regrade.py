"""The command `grpo regrade` in a checkout: see grpo_jax/commands/regrade.py."""

from grpo_jax.commands import run

if __name__ == "__main__":
    run("regrade")
