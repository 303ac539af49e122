"""The command `grpo init` in a checkout: see grpo_jax/commands/init.py."""

from grpo_jax.commands import run

if __name__ == "__main__":
    run("init")
