"""The command `grpo plan` in a checkout: see grpo_jax/commands/plan.py."""

from grpo_jax.commands import run

if __name__ == "__main__":
    run("plan")
