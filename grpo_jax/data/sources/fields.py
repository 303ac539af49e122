"""What a record holds under a field's name, as text. Mistakes are ValueErrors whose text follows a record's place."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np


def pick(record: Mapping[str, Any], field: str) -> Any:
    """The value under a dotted name, as in "prompt.0.content". Raises ValueError if there is none."""
    value: Any = record
    for name in field.split("."):
        if isinstance(value, Mapping):
            if name not in value:
                raise ValueError(f"has no such field; it has {', '.join(map(str, value)) or 'none'}")
            value = value[name]
        elif isinstance(value, list | tuple | np.ndarray):
            if not name.isdecimal() or int(name) >= len(value):
                raise ValueError(f"has no such field; the list has the numbers 0 to {len(value) - 1}, not {name!r}")
            value = value[int(name)]
        else:
            raise ValueError(f"has no such field; {name!r} cannot be looked up in a value of {_noun(value)}")
    return value


def text(value: Any) -> str:
    """The value, which must be text, perhaps in UTF-8, and more than space. Raises ValueError."""
    try:
        value = value.decode() if isinstance(value, bytes) else value
        if not isinstance(value, str):
            raise ValueError(f"holds {_noun(value)} there, not text")
        value.encode()  # JSON can spell halves of characters, which nothing behind this could write
    except (UnicodeDecodeError, UnicodeEncodeError) as error:
        raise ValueError(f"holds text that is not Unicode ({error.reason})") from error
    if not value.strip():
        raise ValueError("is empty there")
    return value


def text_of_answer(value: Any) -> str:
    """The value as text: a number is written down, and a list of one element is that element. Raises ValueError."""
    if isinstance(value, np.ndarray | np.generic):  # tensorflow-datasets
        value = value.tolist()
    if isinstance(value, list | tuple):
        if len(value) != 1:
            raise ValueError(f"holds a list of {len(value)} answers there, and only one can be judged")
        return text_of_answer(value[0])
    if isinstance(value, float) and math.isfinite(value):
        return str(int(value)) if value.is_integer() else str(value)
    return text(str(value) if type(value) is int else value)


def _noun(value: Any) -> str:
    return "nothing (null)" if value is None else f"the type {type(value).__name__}"
