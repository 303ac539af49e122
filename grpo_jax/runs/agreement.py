"""Mistakes on several hosts: where one of them must stop, all do, each with a sentence."""

from collections.abc import Callable
from typing import Any, TypeVar

from grpo_jax.config import ConfigError
from grpo_jax.processes import by_first, on_any_process

T = TypeVar("T")


def on_all(act: Callable[[], T]) -> T:
    """Do this on every process.

    Raises:
      ConfigError: on all of them, if one of them raises it.
    """
    problem, made = None, None
    try:
        made = act()
    except ConfigError as error:
        problem = error
    if on_any_process(problem is not None):
        raise problem or ConfigError("another host cannot go on; see its message.")
    return made  # type: ignore[return-value]  # there was no problem


def on_first(act: Callable[[], Any]) -> Any:
    """Do this on the first process alone, and return on every process what comes of it.

    Args:
      act: looks at what all share, such as the run directory, and returns whatever JSON can say.

    Raises:
      ConfigError: on all of them, if the first one raises it.
    """
    return by_first(act, ConfigError("the first host cannot go on; see its message."))
