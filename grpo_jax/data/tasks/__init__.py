"""Tasks. A task provides problems, writes them as tokens, and judges completions."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from grpo_jax.config import Config
from grpo_jax.data.tasks.modular_expressions import ModularExpressions
from grpo_jax.data.tasks.own import own_task
from grpo_jax.data.tasks.questions import Questions
from grpo_jax.data.tasks.task import Demonstrable, Task

# task.name -> a function that builds the task from its section, the whole configuration and the run's date.
TASKS: Mapping[str, Callable[[Any, Config, datetime], Task]] = {
    "modular_expressions": lambda section, config, date: ModularExpressions(section),
    "questions": Questions,
    "own": lambda section, config, date: own_task(section),
}


def make_task(config: Config, date: datetime | None = None) -> Task:
    """Return the task that a configuration describes.

    Args:
      date: of the run, for chat templates that use a date; None is now, in UTC.

    Raises:
      ConfigError: if the task is impossible.
    """
    return TASKS[config.task.name](config.task, config, date or datetime.now(UTC))


__all__ = ["TASKS", "Demonstrable", "ModularExpressions", "Questions", "Task", "make_task"]
