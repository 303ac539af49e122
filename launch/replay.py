"""The command `grpo replay` in a checkout: see grpo_jax/commands/replay.py."""

from grpo_jax.commands import run

if __name__ == "__main__":
    run("replay")
