"""The command `grpo doctor` in a checkout: see grpo_jax/commands/doctor.py."""

from grpo_jax.commands import run

if __name__ == "__main__":
    run("doctor")
