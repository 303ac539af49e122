"""The command `grpo evaluate` in a checkout: see grpo_jax/commands/evaluate.py."""

from grpo_jax.commands import run

if __name__ == "__main__":
    run("evaluate")
