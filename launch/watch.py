"""The command `grpo watch` in a checkout: see grpo_jax/commands/watch.py."""

from grpo_jax.commands import run

if __name__ == "__main__":
    run("watch")
