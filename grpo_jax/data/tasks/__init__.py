"""Tasks, by name. A task says where problems come from, how they are written, and what a completion is worth."""

from collections.abc import Callable, Mapping

from grpo_jax.config import ConfigError, TaskConfig, did_you_mean
from grpo_jax.data.tasks.modular_expressions import ModularExpressions
from grpo_jax.data.tasks.task import Task

TASKS: Mapping[str, Callable[[TaskConfig], Task]] = {"modular_expressions": ModularExpressions}


def make_task(config: TaskConfig) -> Task:
    """The task that a configuration names. Raises ConfigError if there is none of that name, or it is impossible."""
    if config.name not in TASKS:
        raise ConfigError(f"task.name={config.name!r}: unknown; {did_you_mean(config.name, list(TASKS))}")
    return TASKS[config.name](config)


__all__ = ["TASKS", "Task", "make_task"]
