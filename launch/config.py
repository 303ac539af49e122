"""The command `grpo config` in a checkout: see grpo_jax/commands/config.py."""

from grpo_jax.commands import run

if __name__ == "__main__":
    run("config")
