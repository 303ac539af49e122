"""JSON as records hold it: numbers with all their digits, and no name twice."""

import json
from collections.abc import Sequence
from typing import Any

from grpo_jax.data.sources.golds import Number


def parse(text: str | bytes) -> Any:
    """What a JSON text says, its numbers as `Number`.

    Raises:
      ValueError: if it is not JSON or not Unicode, and for an object that has a name twice: one would be lost.
      RecursionError: for brackets within brackets, too many to read.
    """
    return json.loads(text, parse_int=Number, parse_float=Number, object_pairs_hook=_once)


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"has the field {next(name for name in names if names.count(name) > 1)!r} twice")
    return found
