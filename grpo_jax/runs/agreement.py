"""Run something on all hosts or on the first one, so that a ConfigError on one of them is raised on all."""

from collections.abc import Callable
from typing import Any, TypeVar

from grpo_jax.config import ConfigError
from grpo_jax.processes import by_first, on_any_process

T = TypeVar("T")


def on_all(act: Callable[[], T]) -> T:
    """Call `act` on every process, and return its result on this one.

    Raises:
      ConfigError: on every process, if it is raised on any.
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
    """Call `act` on the first process alone, and return its result on every process.

    Args:
      act: looks at something that all processes share, such as the run directory, and returns JSON values.

    Raises:
      ConfigError: on every process, if it is raised on the first.
    """
    return by_first(act, ConfigError("the first host cannot go on; see its message."))
