"""Tasks that a configuration names by import path."""

from collections.abc import Iterable

import numpy as np
from tokenizers import Tokenizer

from grpo_jax.config import ConfigError, OwnTaskConfig, blaming, imported
from grpo_jax.data.tasks.task import Task

NEVER = -1  # alone among the stop tokens: no token ends a completion, so that each fills its room
REWARD_MEMBERS = ("judge", "unscored", "warm", "close")
MEMBERS = ("tokenizer", "stop_tokens", "max_prompt_tokens", "reward", "problems", "prompt_tokens")


def own_task(settings: OwnTaskConfig) -> Task:
    """Return the task that `task.factory` makes.

    Raises:
      ConfigError: if the factory cannot be imported or called, or does not return a task.
    """
    factory = imported("task.factory", settings.factory)
    called = f"cannot be called with task.parameters={settings.parameters}"
    with blaming(f"task.factory={settings.factory!r}: {called}", "correct one of the two"):
        task = factory(**settings.parameters)
    with blaming(f"task.factory={settings.factory!r}: one of its members cannot be used"):
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
        if mistake := _unusable(task):
            raise ConfigError(f"task.factory={settings.factory!r}: {mistake}.")
    return task


def _unusable(task: Task) -> str:
    """Return a clause on what is wrong with a member of a task, with the remedy, or ""."""
    if not isinstance(getattr(task, "tokenizer", None), Tokenizer):
        return "its tokenizer is None; return a tokenizers.Tokenizer"
    ends, width = list(task.stop_tokens), task.max_prompt_tokens
    size = max(task.tokenizer.get_vocab().values(), default=-1) + 1
    if not ends:
        return f"its stop_tokens are empty, so no token would end a completion; name one, or {NEVER} if none shall"
    prefix = getattr(task, "prompt_prefix", ())
    if not isinstance(prefix, Iterable):
        return f"its prompt_prefix is {prefix!r}; make it a tuple of token ids"
    for member, ids in (("stop_tokens", [] if ends == [NEVER] else ends), ("prompt_prefix", prefix)):
        strange = [one for one in ids if not isinstance(one, int | np.integer) or not 0 <= one < size]
        if strange:
            return f"{strange[0]!r} in its {member} is no id of its tokenizer; name ids from 0 to {size - 1}"
    for member, longest in (("prompt", width), ("solution", getattr(task, "max_solution_tokens", 1))):
        if not isinstance(longest, int | np.integer) or longest < 1:
            return f"its max_{member}_tokens is {longest!r}; make it the length of the longest {member}, in tokens"
    if lacking := [name for name in REWARD_MEMBERS if not hasattr(task.reward, name)]:
        return f"its reward has no {', '.join(lacking)}; return a grpo_jax.rewards.Reward, such as a PerAttempt"
    return ""
