"""Dataclasses as JSON objects, and back.

A record's fields are the names in its JSON object, and their types say how the values are read. So only the module that
defines a record knows these names. JSON has no NaN and no infinity: numbers that are not finite are null in JSON, and
NaN when they are read. Nothing here imports JAX.
"""

import math
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from typing import Annotated, Any, Self, Union


@dataclass(frozen=True)
class Formerly:
    """Marks a field, in its annotation, with the name that it had in records of earlier versions."""

    name: str


@dataclass(frozen=True)
class JsonRecord:
    """A record without fields. The fields of a subclass may hold records, mappings, sequences and named tuples.

    A field with a default is written only if its value is another, and has the default if it is read from a record that
    lacks it. So a new field needs a default if records of earlier versions are to be read.
    """

    def to_json(self) -> dict[str, Any]:
        """Return the record as JSON values."""
        values = ((field, getattr(self, field.name)) for field in fields(self))
        return {
            field.name: plain(value) for field, value in values if field.default is MISSING or value != field.default
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Return the record that these values hold, written by this version or an earlier one.

        Raises:
          KeyError, TypeError, ValueError: if they are no such record.
        """
        if not isinstance(values, Mapping):
            raise TypeError(f"{cls.__name__} is an object, not {values!r}")
        kinds = typing.get_type_hints(cls, include_extras=True)
        present = {former: name for name, kind in kinds.items() for former in _former_names(kind)}
        named = {present.get(name, name): value for name, value in values.items()}
        if unknown := named.keys() - kinds.keys():  # such as a field of a later version
            raise TypeError(f"{cls.__name__} has no {', '.join(sorted(unknown))}")
        return cls(**{name: _read(kinds[name], value) for name, value in named.items()})


def plain(value: Any) -> Any:
    """Return records, and what contains them, as JSON values."""
    if isinstance(value, JsonRecord):
        return value.to_json()
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the leaves of nested JSON objects by their dotted names."""
    leaves: dict[str, Any] = {}
    for name, value in values.items():
        leaves |= flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return leaves


def number(value: float | None) -> float:
    """Return the number that a JSON value stands for: null is NaN."""
    return math.nan if value is None else float(value)


def _former_names(kind: Any) -> list[str]:
    return [mark.name for mark in getattr(kind, "__metadata__", ()) if isinstance(mark, Formerly)]


def _read(kind: Any, value: Any) -> Any:
    """Return the value of this type that a JSON value stands for."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is Annotated:
        return _read(inner[0], value)
    if origin in (Union, types.UnionType):  # X | None
        return None if value is None else _read(next(one for one in inner if one is not types.NoneType), value)
    if origin is Mapping:
        return {inner[0](name): _read(inner[1], each) for name, each in dict(value).items()}
    if origin is Sequence:
        return [_read(inner[0], each) for each in value]
    if kind is float:
        return number(value)
    if isinstance(kind, type) and issubclass(kind, JsonRecord):
        return kind.from_json(value)
    if isinstance(kind, type) and issubclass(kind, tuple):
        of_fields = typing.get_type_hints(kind).values()
        return kind(*(_read(of_field, each) for of_field, each in zip(of_fields, value, strict=True)))
    return value
