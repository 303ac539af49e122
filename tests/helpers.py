"""Small things that several tests build."""

from pathlib import Path

from grpo_jax.config import Config, load

CONFIGS = Path(__file__).parent.parent / "configs"

# The demo, in seconds: the easiest task, the smallest policy.
TINY = {
    "task.operations": 1,
    "task.operators": "+-*",
    "task.train_problems": 40,
    "model.embed_dim": 16,
    "model.num_layers": 2,
    "model.head_dim": 8,
    "model.mlp_dim": 32,
    "warm_start.full_steps": 40,
    "warm_start.skip_steps": 10,
    "warm_start.batch_size": 32,
    "warm_start.full_learning_rate": 1e-2,
    "warm_start.checkpoint_every": 10,
    "rollout.prompts_per_step": 8,
    "rollout.max_new_tokens": 4,
    "train.steps": 12,
    "evaluation.every": 4,
    "evaluation.validation_problems": 8,
    "evaluation.validation_samples": 2,
    "evaluation.test_problems": 8,
    "evaluation.test_samples": 2,
    "evaluation.prompts_per_batch": 8,
    "evaluation.bootstrap": 20,
    "checkpoint.every": 4,
}


def make_config(name: str = "two_grpo", **changes: object) -> Config:
    """The tiny variant of a config file; `changes` have `__` for the dots of a field's name."""
    changes = {field.replace("__", "."): value for field, value in changes.items()}
    return load(CONFIGS / f"{name}.py", [(field, str(value)) for field, value in (TINY | changes).items()])
