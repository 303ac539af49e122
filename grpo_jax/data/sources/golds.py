"""Convert the values of records to texts. One table says how each type is converted, or why it cannot be.

Sources pass values on at their own width (`np.float32`, not its double) and with their own digits (`Number`). Mistakes
are ValueErrors whose text follows the record's place in a message, and ends with the remedy.
"""

import datetime
import re
import reprlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from types import NoneType
from typing import Any

import numpy as np

from grpo_jax.config import counted

REPAIR = "name another field, or repair the record"
MAX_CHARACTERS = 25  # of a float without an exponent


@dataclass(frozen=True, repr=False)
class Number:
    """A number as a JSON file writes it. As floats, `0.10` and `12345678901234567890.5` would lose digits."""

    written: str

    def __repr__(self) -> str:
        return self.written


@dataclass(frozen=True)
class Unread:
    """A value of a type that has no text, such as a time in an Arrow table, which Python may be unable to represent."""

    type: str


def text(value: Any) -> str:
    """Return the value if it is text, or text in UTF-8, and not blank. Otherwise raises ValueError."""
    try:
        value = value.decode() if isinstance(value, bytes) else value
        if not isinstance(value, str):
            if isinstance(value, list | tuple | Mapping):
                raise ValueError(f"holds {_noun(value)} there; name what is in it, as in prompt.0.content")
            raise ValueError(f"holds {_noun(value)} there, not text; {REPAIR}")
        value.encode()  # JSON can contain halves of characters, which cannot be written anywhere
    except (UnicodeDecodeError, UnicodeEncodeError) as error:
        raise ValueError(f"holds text there that is not Unicode ({error.reason}); {REPAIR}") from error
    if not value.strip():
        raise ValueError(f"is empty there; {REPAIR}")
    return str(value)


def text_of_answer(value: Any) -> str:
    """Return the gold answer as text, converted by `GOLDS`. Raises ValueError for a type that cannot be converted."""
    rule = next(GOLDS[kind] for kind in type(value).__mro__ if kind in GOLDS)
    if isinstance(rule, str):
        raise ValueError(f"holds {_noun(value)} there; {rule}")
    return rule(value)


def _of_json(number: Number) -> str:
    """Return the number as it is written, but 4 for `4.0`, since programs write 4 like that in a column of floats."""
    return re.sub(r"^(-?\d+)\.0$", r"\1", number.written)


def _of_float(value: float | np.floating[Any]) -> str:
    """Return the shortest decimal that equals the number at its own width: .1 for the nearest float32, 4 for 4.0."""
    if not np.isfinite(value):
        raise ValueError(f"holds {value} there, which no answer equals; {REPAIR}")
    plain = np.format_float_positional(value, trim="-")
    return plain if len(plain) <= MAX_CHARACTERS else np.format_float_scientific(value, trim="-")


def _of_decimal(value: Decimal) -> str:
    """Return the number without trailing zeros: in a column of decimals, all have as many digits as the longest."""
    if not value.is_finite():
        raise ValueError(f"holds {value} there, which no answer equals; {REPAIR}")
    plain = f"{value:f}"
    return plain.rstrip("0").rstrip(".") if "." in plain else plain


def _of_list(values: "list[Any] | tuple[Any, ...] | np.ndarray") -> str:
    """Return the text of the only element."""
    if isinstance(values, np.ndarray) and values.ndim == 0:
        return text_of_answer(values[()])
    if len(values) != 1:
        raise ValueError(
            f"holds a list of {counted(len(values), 'answer')} there, but only one can be judged; name one, as in "
            "answer.0, or write them as one text"
        )
    return text_of_answer(values[0])


_AS_ANSWERED = "write it as text, in the form of an answer"

# type of a value -> a function that returns the gold answer's text, or the remedy if there is none. A type without an
# entry has that of its nearest base class.
GOLDS: Mapping[type, Callable[[Any], str] | str] = {
    str: text,
    bytes: text,
    Number: _of_json,
    int: str,
    np.integer: lambda value: str(int(value)),
    float: _of_float,
    np.floating: _of_float,
    Decimal: _of_decimal,
    list: _of_list,
    tuple: _of_list,
    np.ndarray: _of_list,
    NoneType: REPAIR,
    bool: _AS_ANSWERED,  # the answer may be yes, true or correct
    np.bool_: _AS_ANSWERED,
    np.timedelta64: _AS_ANSWERED,  # a subclass of NumPy's integers
    datetime.date: _AS_ANSWERED,  # the answer may be March 5 or 2024-03-05; also the base of datetime
    datetime.time: _AS_ANSWERED,
    datetime.timedelta: _AS_ANSWERED,
    dict: "name one of its fields, as in answer.value",
    object: _AS_ANSWERED,  # all others: complex numbers, sets, NumPy's times, `Unread`
}


def _noun(value: Any) -> str:
    if value is None:
        return "nothing (null)"
    if isinstance(value, Unread):
        return f"a value of the type {value.type}"
    if isinstance(value, Number):
        return f"the number {value.written}"
    return f"{reprlib.repr(value)}, of the type {type(value).__name__},"
