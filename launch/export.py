"""The command `grpo export` in a checkout: see grpo_jax/commands/export.py."""

from grpo_jax.commands import run

if __name__ == "__main__":
    run("export")
