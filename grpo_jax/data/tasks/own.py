"""Tasks that a configuration names by import path."""

from tokenizers import Tokenizer

from grpo_jax.config import ConfigError, OwnTaskConfig, imported
from grpo_jax.data.tasks.task import Task

MEMBERS = ("tokenizer", "stop_tokens", "max_prompt_tokens", "reward", "problems", "prompt_tokens")


def own_task(settings: OwnTaskConfig) -> Task:
    """Return the task that `task.factory` makes.

    Raises:
      ConfigError: if the factory cannot be imported or called, or does not return a task.
    """
    factory = imported("task.factory", settings.factory)
    try:
        task = factory(**settings.parameters)
    except ConfigError:
        raise
    except Exception as error:  # whatever a user's function raises is reported as that function's fault
        raise ConfigError(
            f"task.factory={settings.factory!r}: cannot be called with task.parameters={settings.parameters} "
            f"({type(error).__name__}: {error}); correct one of the two."
        ) from error
    if not isinstance(getattr(task, "tokenizer", None), Tokenizer | None):
        raise ConfigError(
            f"task.factory={settings.factory!r}: its tokenizer is a {type(task.tokenizer).__name__}; return a "
            "tokenizers.Tokenizer, such as the backend_tokenizer of a fast tokenizer of transformers."
        )
    missing = [name for name in MEMBERS if not hasattr(task, name)]
    if missing:
        raise ConfigError(
            f"task.factory={settings.factory!r}: its result has no {', '.join(missing)}; return a task with all "
            "members of grpo_jax.data.Task."
        )
    return task
