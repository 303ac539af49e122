"""Tasks. A task says where problems come from, how they are written, and what a completion is worth."""

from collections.abc import Callable, Mapping
from typing import Any

from grpo_jax.config import Config
from grpo_jax.data.tasks.modular_expressions import ModularExpressions
from grpo_jax.data.tasks.own import own_task
from grpo_jax.data.tasks.questions import Questions
from grpo_jax.data.tasks.task import Demonstrable, Task

# task.name -> what builds the task from its section and the whole configuration.
TASKS: Mapping[str, Callable[[Any, Config], Task]] = {
    "modular_expressions": lambda section, config: ModularExpressions(section),
    "questions": Questions,
    "own": lambda section, config: own_task(section),
}


def make_task(config: Config) -> Task:
    """The task that a configuration describes. Raises ConfigError if it is impossible."""
    return TASKS[config.task.name](config.task, config)


__all__ = ["TASKS", "Demonstrable", "ModularExpressions", "Questions", "Task", "make_task"]
