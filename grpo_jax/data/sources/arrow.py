"""Rows of Arrow tables as records. Parquet files and the data sets of Hugging Face are such tables."""

import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from grpo_jax.data.sources.golds import Unread
from grpo_jax.data.sources.json_lines import parse

if TYPE_CHECKING:
    import pyarrow


def row(table: "pyarrow.Table", index: int) -> Mapping[str, Any]:
    """Return a row of a table, with each float at its own width; pyarrow itself converts all floats to doubles.

    Raises:
      ValueError: if two columns have one name, or a value of a JSON column is not JSON.
    """
    names = table.column_names
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"has two columns {twice!r}")
    return {name: _value(table.column(column)[index]) for column, name in enumerate(names)}


def _value(scalar: Any) -> Any:
    if not scalar.is_valid:
        return None
    kinds = _kinds()
    return next((kinds[kind] for kind in type(scalar).__mro__ if kind in kinds), _unread)(scalar)


def _unread(scalar: Any) -> Unread:
    return Unread(str(scalar.type))


def _text(scalar: Any) -> str | bytes:
    try:
        return scalar.as_py()
    except UnicodeDecodeError:  # returned as bytes, which are reported where they are used
        return scalar.as_buffer().to_pybytes()


@functools.cache
def _kinds() -> Mapping[type, Callable[[Any], Any]]:
    """Return how the scalars of each class are converted. Other scalars, such as times, keep only their type."""
    import pyarrow

    exact = ["Boolean", "Double", "Binary", *(f"Decimal{bits}" for bits in (32, 64, 128, 256))]
    exact += [f"{sign}{bits}" for sign in ("Int", "UInt") for bits in (8, 16, 32, 64)]
    return {
        **{getattr(pyarrow, f"{name}Scalar"): lambda scalar: scalar.as_py() for name in exact},
        pyarrow.FloatScalar: lambda scalar: np.float32(scalar.as_py()),
        pyarrow.HalfFloatScalar: lambda scalar: np.float16(scalar.as_py()),
        pyarrow.StringScalar: _text,  # also the base of large strings and views
        pyarrow.StructScalar: lambda scalar: {name: _value(scalar[name]) for name in scalar},
        pyarrow.MapScalar: lambda scalar: {str(pair[0]): _value(pair[1]) for pair in scalar.values},
        pyarrow.ListScalar: lambda scalar: [_value(each) for each in scalar],
        pyarrow.DictionaryScalar: lambda scalar: _value(scalar.value),
        pyarrow.JsonScalar: lambda scalar: parse(scalar.value.as_py()),
        pyarrow.ExtensionScalar: lambda scalar: _value(scalar.value),
    }
