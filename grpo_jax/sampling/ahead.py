"""The host works on one batch while the devices work on the next."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from grpo_jax.processes import fetch, gather

T = TypeVar("T")


def one_ahead(start: Callable[[T], Any], items: Iterable[T]) -> Iterator[tuple[T, Any]]:
    """Yield each item with the result of `start`, fetched to the host once the next item has been started.

    Several processes gather a result before they start the next item. Otherwise the gathering would wait for that item.

    Args:
      start: returns arrays that the devices may still be computing.
    """
    before: tuple[T, Any] | None = None
    for item in items:
        started = (item, gather(start(item)))
        if before is not None:
            yield before[0], fetch(before[1])
        before = started
    if before is not None:
        yield before[0], fetch(before[1])
