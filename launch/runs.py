"""The command `grpo runs` in a checkout: see grpo_jax/commands/runs.py."""

from grpo_jax.commands import run

if __name__ == "__main__":
    run("runs")
