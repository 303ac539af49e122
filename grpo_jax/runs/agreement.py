"""Run something on all hosts or on the first one, so that an error on one of them is raised on all."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from grpo_jax.config import ConfigError
from grpo_jax.processes import by_all, by_first, unlike_on_processes
from grpo_jax.runs.ending import TrainingError

T = TypeVar("T")


def on_all(act: Callable[[], T]) -> T:
    """Call `act` on every process, and return its result on this one.

    Raises:
      ConfigError: on every process, if it is raised on any.
    """
    made: list[T] = []
    by_all(lambda: made.append(act()), ConfigError)
    return made[0]


def on_first(act: Callable[[], Any]) -> Any:
    """Call `act` on the first process alone, and return its result on every process.

    Args:
      act: looks at something that all processes share, such as the run directory, and returns JSON values.

    Raises:
      ConfigError: on every process, if it is raised on the first.
    """
    return by_first(act, ConfigError)


def check_alike(where: str, values: Mapping[str, Any]) -> None:
    """Check that the values are the same on all processes.

    Args:
      where: the place in the run, for the message.
      values: small ones, of types that JSON has.

    Raises:
      TrainingError: on every process, with the names of the values that differ and what each process has.
    """
    unlike = unlike_on_processes(values)
    if unlike:
        differences = "; ".join(f"{name} ({_by_process(theirs)})" for name, theirs in unlike.items())
        raise TrainingError(
            f"{where}: the processes differ in {differences}. Nothing was learned from it; see that all hosts have the "
            "same hardware, files and packages, and run the same command again."
        )


def _by_process(values: Sequence[Any]) -> str:
    """Return which processes have which value, as in "3 on process 0, 4 on process 1"."""
    distinct = [value for index, value in enumerate(values) if value not in values[:index]]
    return ", ".join(
        f"{value} on process {' and '.join(str(index) for index, theirs in enumerate(values) if theirs == value)}"
        for value in distinct
    )
