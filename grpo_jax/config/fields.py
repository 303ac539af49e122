"""Read the schema's annotations: sections, defaults and marks of fields."""

import copy
import dataclasses
import functools
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any

from grpo_jax.config.marks import Before
from grpo_jax.config.schema import Config

# Kept, because reading them each time took half of the time that loading a configuration takes.
_type_hints = functools.cache(functools.partial(typing.get_type_hints, include_extras=True))


def hints_of(section: Any) -> Mapping[str, Any]:
    """Return the annotation of each field of a section."""
    return _type_hints(section)


def base(kind: Any) -> Any:
    """Return an annotation without its marks."""
    return typing.get_args(kind)[0] if typing.get_origin(kind) is Annotated else kind


def marks(kind: Any) -> tuple[Any, ...]:
    """Return the marks of an annotation, such as `Range`."""
    return getattr(kind, "__metadata__", ())


def sections(kind: Any) -> list[Any]:
    """Return the dataclasses that a field of this kind may hold; none for a plain value."""
    kind = base(kind)
    members = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    return [member for member in members if dataclasses.is_dataclass(member)]


def section_for(kind: Any, values: Any) -> Any:
    """Return the dataclass that these values belong to, or None. In a union, the value of its first field decides."""
    members = sections(kind)
    if len(members) < 2:
        return members[0] if members else None
    chosen = values.get(tag(kind))
    return tags(kind).get(chosen) if isinstance(chosen, str) else None


def tag(kind: Any) -> str:
    """Return the name of the field that distinguishes the dataclasses of a union."""
    return dataclasses.fields(sections(kind)[0])[0].name


def tags(kind: Any) -> dict[str, Any]:
    """Return the dataclasses of a union by the possible values of their first fields."""
    return {
        name: section
        for section in sections(kind)
        for name in typing.get_args(base(hints_of(section)[dataclasses.fields(section)[0].name]))
    }


def tag_fields(section: Any = Config, prefix: str = "") -> Iterator[str]:
    """Yield the dotted names of all fields that distinguish the dataclasses of a union."""
    for name, kind in hints_of(section).items():
        if len(sections(kind)) > 1:
            yield f"{prefix}{name}.{tag(kind)}"
        for member in sections(kind):
            yield from tag_fields(member, f"{prefix}{name}.")


def leaves(section: Any = Config, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the dotted name and the annotation of each field but sections. Members of a union may share names."""
    for name, kind in hints_of(section).items():
        if not sections(kind):
            yield f"{prefix}{name}", kind
        for member in sections(kind):
            yield from leaves(member, f"{prefix}{name}.")


def choices_with(field: str, section: Any = Config, prefix: str = "") -> Iterator[str]:
    """Yield the choices of one of several sections that have this dotted field, as in "task.name=questions"."""
    for name, kind in hints_of(section).items():
        for choice, member in tags(kind).items() if len(sections(kind)) > 1 else ():
            if field in dict(leaves(member, f"{prefix}{name}.")):
                yield f"{prefix}{name}.{tag(kind)}={choice}"
        for member in sections(kind):
            yield from choices_with(field, member, f"{prefix}{name}.")


def is_optional(kind: Any) -> bool:
    """Return whether a section may be absent."""
    return types.NoneType in typing.get_args(base(kind))


def marked(mark: Any, section: Any = Config, prefix: str = "") -> tuple[str, ...]:
    """Return the dotted names of the fields and sections that have a mark."""
    found: dict[str, None] = {}  # several members of a union may have a field of the same name
    for name, kind in hints_of(section).items():
        if mark in marks(kind):
            found[f"{prefix}{name}"] = None
            continue
        for member in sections(kind):
            found |= dict.fromkeys(marked(mark, member, f"{prefix}{name}."))
    return tuple(found)


def default_of(field: "dataclasses.Field[Any]", kind: Any) -> Any:
    """Return the default of a field: an empty section if a section is required, or `dataclasses.MISSING`."""
    if field.default is not dataclasses.MISSING:
        return field.default
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return {} if sections(kind) and not is_optional(kind) else dataclasses.MISSING


def earlier_default_of(field: "dataclasses.Field[Any]", kind: Any) -> Any:
    """Return the value of a field in runs that are older than it: that of its `Before` mark, or else its default."""
    before = [mark.value for mark in marks(kind) if isinstance(mark, Before)]
    return before[0] if before else default_of(field, kind)


def complete(
    values: Mapping[str, Any],
    section: Any = Config,
    default: Callable[["dataclasses.Field[Any]", Any], Any] = default_of,
) -> dict[str, Any]:
    """Return a section's values with the defaults of missing fields, in the schema's order.

    Fields without a default stay missing, and unknown fields stay. Nothing is checked.
    """
    kinds, whole = hints_of(section), {}
    for field in dataclasses.fields(section):
        kind = kinds[field.name]
        value = copy.deepcopy(values[field.name]) if field.name in values else default(field, kind)
        if isinstance(value, Mapping) and (member := section_for(kind, value)):
            value = complete(value, member, default)
        if value is not dataclasses.MISSING:
            whole[field.name] = value
    return {**whole, **{name: value for name, value in values.items() if name not in kinds}}


def unknown(values: Mapping[str, Any], section: Any = Config, prefix: str = "") -> Iterator[str]:
    """Yield the dotted names of values that the schema has no field for."""
    kinds = hints_of(section)
    for name, value in values.items():
        if name not in kinds:
            yield f"{prefix}{name}"
        elif isinstance(value, Mapping) and (member := section_for(kinds[name], value)):
            yield from unknown(value, member, f"{prefix}{name}.")
