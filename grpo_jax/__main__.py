"""`python -m grpo_jax` is the command `grpo`."""

from grpo_jax.commands import main

if __name__ == "__main__":
    main()
