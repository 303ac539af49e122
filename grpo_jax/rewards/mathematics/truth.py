"""Truth values with None for unknown: Kleene's three-valued logic."""

from collections.abc import Iterable


def all_of(truths: Iterable[bool | None]) -> bool | None:
    """Return False if one is false, else None if one is unknown."""
    unknown = False
    for truth in truths:
        if truth is False:
            return False
        unknown |= truth is None
    return None if unknown else True


def any_of(truths: Iterable[bool | None]) -> bool | None:
    """Return True if one is true, else None if one is unknown."""
    negated = all_of(None if truth is None else not truth for truth in truths)
    return None if negated is None else not negated
