"""Work of the host on one batch while the devices work on the next."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from grpo_jax.processes import fetch

T = TypeVar("T")


def one_ahead(start: Callable[[T], Any], items: Iterable[T]) -> Iterator[tuple[T, Any]]:
    """Each item with what `start` gave for it, fetched to the host when the next one has been started.

    Args:
      start: returns at once, with arrays that are still being computed.
    """
    before: tuple[T, Any] | None = None
    for item in items:
        started = (item, start(item))
        if before is not None:
            yield before[0], fetch(before[1])
        before = started
    if before is not None:
        yield before[0], fetch(before[1])
