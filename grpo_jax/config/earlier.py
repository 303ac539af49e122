"""Fields that were replaced. Config files, flags and run directories may still have the earlier ones."""

from collections.abc import Mapping
from typing import Any, NamedTuple


class Replaced(NamedTuple):
    """The field that replaced an earlier one of its section, and its value for each value of the earlier one."""

    name: str
    values: Mapping[Any, Any]  # JSON values


REPLACED = {"logging": {"tensorboard": Replaced("trackers", {True: ["tensorboard"], False: []})}}


def current(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a configuration under the fields of today. An earlier field decides, if both are there.

    A value that the earlier field could not have stays where it is, and so is reported as an unknown field.
    """
    whole = dict(values)
    for section, fields in REPLACED.items():
        if isinstance(values.get(section), Mapping):
            whole[section] = dict(values[section])
            for earlier, now in fields.items():
                if whole[section].get(earlier) in list(now.values):
                    whole[section][now.name] = now.values[whole[section].pop(earlier)]
    return whole


def current_flag(field: str, text: str) -> tuple[str, str]:
    """Return the field of today, and the text of its value, for those of a flag."""
    section, _, name = field.partition(".")
    now = REPLACED.get(section, {}).get(name)
    values = {str(value).lower(): str(new) for value, new in now.values.items()} if now else {}
    return (f"{section}.{now.name}", values[text.lower()]) if now and text.lower() in values else (field, text)
