"""A task that a configuration names by import path."""

from grpo_jax.config import ConfigError, OwnTaskConfig, imported
from grpo_jax.data.tasks.task import Task

MEMBERS = ("tokenizer", "stop_tokens", "max_prompt_tokens", "reward", "problems", "prompt_tokens")


def own_task(settings: OwnTaskConfig) -> Task:
    """What `task.factory` returns.

    Raises:
      ConfigError: if it cannot be imported or called, or what it returns is no task.
    """
    factory = imported("task.factory", settings.factory)
    try:
        task = factory(**settings.parameters)
    except ConfigError:
        raise
    except Exception as error:  # whatever a user's function raises is reported as that function's fault
        raise ConfigError(
            f"task.factory={settings.factory!r}: cannot be called with task.parameters={settings.parameters} "
            f"({type(error).__name__}: {error}); mend one of the two."
        ) from error
    missing = [name for name in MEMBERS if not hasattr(task, name)]
    if missing:
        raise ConfigError(
            f"task.factory={settings.factory!r}: what it returns has no {', '.join(missing)}; a task has the "
            "members of grpo_jax.data.Task."
        )
    return task
