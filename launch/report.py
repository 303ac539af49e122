"""The command `grpo report` in a checkout: see grpo_jax/commands/report.py."""

from grpo_jax.commands import run

if __name__ == "__main__":
    run("report")
