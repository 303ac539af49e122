"""The command `grpo study` in a checkout: see grpo_jax/commands/study.py."""

from grpo_jax.commands import run

if __name__ == "__main__":
    run("study")
