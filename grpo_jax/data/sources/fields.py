"""Lookup of a field in a record. Mistakes are ValueErrors whose text follows the record's place in a message."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from grpo_jax.config import counted
from grpo_jax.data.sources.golds import REPAIR


def pick(record: Mapping[str, Any], field: str) -> Any:
    """Return the value under a dotted name, as in "prompt.0.content". A field's own name may contain dots, too.

    Raises:
      ValueError: if there is none, or if the name can be read in two ways.
    """
    names = field.split(".")
    found = list(_readings(record, names))
    if len(found) > 1:
        raise ValueError(f"can be read under {field!r} in {len(found)} ways, since names have dots; rename a field")
    if not found:
        raise ValueError(_missing(record, names))
    return found[0]


def _readings(value: Any, names: Sequence[str]) -> Iterator[Any]:
    """Yield the values under these names. Several names, joined by dots, may be the name of one field."""
    if not names:
        yield value
    elif isinstance(value, Mapping):
        for end in range(1, len(names) + 1):
            name = ".".join(names[:end])
            if name in value:
                yield from _readings(value[name], names[end:])
    elif isinstance(value, list | tuple | np.ndarray) and names[0].isdecimal() and int(names[0]) < len(value):
        yield from _readings(value[int(names[0])], names[1:])


def _missing(value: Any, names: Sequence[str]) -> str:
    """Return the reason why nothing is under these names, if each is the name of one field."""
    name, *rest = names
    if isinstance(value, Mapping):
        if name in value:
            return _missing(value[name], rest)
        return f"has no such field; it has {', '.join(map(str, value)) or 'none'}; {REPAIR}"
    if isinstance(value, list | tuple | np.ndarray):
        if name.isdecimal() and int(name) < len(value):
            return _missing(value[int(name)], rest)
        elements = counted(len(value), "element")
        return f"has no such field; the list has {elements}, numbered from 0, but no {name!r}; {REPAIR}"
    kind = "nothing (null)" if value is None else f"a value of the type {type(value).__name__}"
    return f"has no such field; {name!r} cannot be looked up in {kind}; {REPAIR}"
