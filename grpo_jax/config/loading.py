"""Load a config file and the command line's overrides as a validated `Config`.

A config file has a function `get_config()` that returns a `ConfigDict` with its own fields. The other fields get the
schema's defaults. Mistakes are refused before anything is built, each with one sentence that names the field, its value
and the remedy. No other file of grpo_jax uses `ml_collections`.
"""

import ast
import copy
import dataclasses
import hashlib
import json
import math
import types
import typing
from collections.abc import Iterable, Mapping
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

from ml_collections import ConfigDict

import grpo_jax
from grpo_jax.config import fields
from grpo_jax.config.continuing import differences
from grpo_jax.config.earlier import current, current_flag
from grpo_jax.config.elsewhere import suggestion
from grpo_jax.config.marks import WHOLE, MayBeEmpty, Range
from grpo_jax.config.mistakes import Mistakes
from grpo_jax.config.rules import RULES
from grpo_jax.config.running import CONFIGURATION, run_file
from grpo_jax.config.schema import Config, ConfigError
from grpo_jax.config.sentences import agreeing, counted, described, did_you_mean

T = TypeVar("T")


def load(path: str | Path, overrides: Iterable[tuple[str, str]] = (), begun: Mapping[str, Any] | None = None) -> Config:
    """Load the configuration of a config file, with overrides from the command line.

    Args:
      path: a Python file with `get_config() -> ConfigDict`, or the name of a shipped one; see `run_file`.
      overrides: (dotted field, text) pairs, as in `("optimizer.learning_rate", "1e-4")`. Later ones win.
      begun: the content of config.json if a run is continued; see `_set_newer_fields`.

    Raises:
      ConfigError: if the file cannot be read, or with a sentence for every field that is unknown, missing, of the wrong
        type or out of range. If there is no such field, with the sentences of all broken rules between fields.
    """
    values, mistakes = fields.complete(current(_run_config_file(path))), Mistakes()
    if begun is not None:
        _set_newer_fields(values, current(begun))
    # Fields that choose one of several sections come first, and then the fields of the chosen sections.
    tags = set(fields.tag_fields())
    now = (current_flag(field, text) for field, text in overrides)
    for field, text in sorted(now, key=lambda override: override[0] not in tags):
        with mistakes:
            _override(values, field, text)
    with mistakes:
        config = _build(Config, values, prefix="")
    mistakes.tell()
    check(config)
    return config


def with_defaults(values: Mapping[str, Any]) -> ConfigDict:
    """Return the values of a config file with the schema's defaults for all missing fields.

    A config file that derives from another one can then read and set any field.
    """
    return ConfigDict(fields.complete(current(values)))


def from_dict(values: Mapping[str, Any]) -> Config:
    """Return the configuration that a run of this or an earlier version has recorded; see `read_recorded`.

    Raises:
      ConfigError: if it cannot be read, or cannot run.
    """
    config = _build(Config, read_recorded(values).values, prefix="")
    check(config)
    return config


class Recorded(NamedTuple):
    """A configuration that a run has recorded, completed, as JSON values."""

    values: dict[str, Any]
    note: str  # says how many fields were filled in, and which unlike today's defaults, as a predicate; "" if none were


def read_recorded(values: Mapping[str, Any]) -> Recorded:
    """Return a recorded configuration, completed by the fields that did not exist when a run recorded it.

    They get the value that all runs had then: that of a `Before` mark, or else the default.

    Raises:
      ConfigError: if a field is unknown, for example because a later version recorded it.
    """
    values = current(values)
    if others := list(fields.unknown(values)):
        are = agreeing(len(others), "is not a field", "are not fields")
        raise ConfigError(
            f"{', '.join(others)}: {are} of this version of grpo_jax ({grpo_jax.__version__}); use the version that "
            "made the run, or a later one."
        )
    whole = fields.complete(values, default=lambda field, kind: _as_json(fields.earlier_default_of(field, kind)))
    if not (filled := len(differences(values, whole))):
        return Recorded(whole, "")
    note = f"was written by an earlier version; filled in {counted(filled, 'newer field')}"
    today = fields.complete(values, default=lambda field, kind: _as_json(fields.default_of(field, kind)))
    unlike = [f"{one.field}={json.dumps(one.first)}" for one in differences(whole, today)]
    return Recorded(whole, f"{note}; unlike today's defaults: {', '.join(unlike)}" if unlike else note)


def check(config: Config) -> None:
    """Raise ConfigError if fields do not fit together, with the sentences of all rules that are broken."""
    broken = [sentence for rule in RULES for sentence in rule(config)]
    if broken:
        raise ConfigError(*broken)


def to_dict(config: Config) -> dict[str, Any]:
    """Return a configuration as a nested dictionary of JSON values. `from_dict` is the inverse."""

    def plain(items: list[tuple[str, Any]]) -> dict[str, Any]:
        return {name: _as_json(value) for name, value in items}

    return dataclasses.asdict(config, dict_factory=plain)


def _as_json(value: Any) -> Any:
    if isinstance(value, tuple):
        return list(value)
    return "inf" if value == math.inf else value


def digest(values: Mapping[str, Any]) -> str:
    """Return a short hash of a nested dictionary of plain values, which is the same in every process."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def _run_config_file(path: str | Path) -> dict[str, Any]:
    values = run_file(path, CONFIGURATION)
    if not isinstance(values, ConfigDict):
        raise ConfigError(f"--config={path}: get_config() returned {type(values).__name__}; return a ConfigDict.")
    try:
        return values.to_dict()
    except Exception as error:  # of a name that is no text, or of a required placeholder without a value
        raise ConfigError(
            f"--config={path}: get_config() returned a ConfigDict that cannot be read ({described(error)}); name each "
            "field by a text, and give it a value."
        ) from error


def _override(values: dict[str, Any], field: str, text: str) -> None:
    """Set a field, given by its dotted name, to the value that a text stands for. Raise ConfigError if it has none."""
    *sections, leaf = field.split(".")
    kind: Any = Config
    section: Any = values
    for depth, name in enumerate([*sections, leaf]):
        where = ".".join([*sections, leaf][: depth + 1])
        if typing.get_origin(fields.base(kind)) is dict:  # keys may have dots: package.module:function
            section[".".join([*sections, leaf][depth:])] = _parse(typing.get_args(fields.base(kind))[1], text)
            return
        union, chosen = kind, fields.section_for(kind, section)
        known = fields.hints_of(chosen) if chosen else {fields.tag(kind): str} if fields.sections(kind) else {}
        if not known:
            parent = where.rpartition(".")[0]
            raise ConfigError(f"--config.{field}={text}: {parent} is no section; set it as --config.{parent}=VALUE.")
        if name not in known:
            there = _hint(field, name, known, value=f"={text}")
            raise ConfigError(f"--config.{field}={text}: unknown field {where}; {there}")
        if depth < len(sections):
            if section.get(name) is None and fields.sections(known[name]):
                section[name] = _beginning(known, section, name)
            section = section[name]
        kind = known[name]
    if fields.sections(kind) and not (fields.is_optional(kind) and text.lower() in _NOTHING):
        raise ConfigError(f"--config.{field}={text}: is a section; set one of its fields, as in {field}.NAME=VALUE.")
    another = fields.tags(union).get(text) if len(fields.sections(union)) > 1 and leaf == fields.tag(union) else None
    if another not in (None, chosen):
        section.clear()
        section.update(fields.complete({leaf: text}, another))
    section[leaf] = None if fields.sections(kind) else _parse(kind, text)


_NOTHING = ("none", "null")  # the texts of an absent section


def _hint(field: str, word: str, known: Mapping[str, Any], **written: str) -> str:
    """Return the end of a sentence about an unknown field: where it would be known, or what is known here."""
    if choices := list(fields.choices_with(field)):
        return f"it exists only with {' or '.join(choices)}."
    return suggestion(field, word, list(known), **written)


def _set_newer_fields(values: dict[str, Any], begun: Mapping[str, Any], section: Any = Config) -> None:
    """Set fields that are newer than the run to their values of that time, if they now have their defaults.

    So the same command continues a run that an earlier version has begun.
    """
    kinds = fields.hints_of(section)
    for field in dataclasses.fields(section):
        kind, value, theirs = kinds[field.name], values.get(field.name), begun.get(field.name)
        if isinstance(value, dict) and (member := fields.section_for(kind, value)):
            _set_newer_fields(value, theirs if isinstance(theirs, Mapping) else {}, member)
        elif field.name not in begun and value == fields.default_of(field, kind):
            values[field.name] = fields.earlier_default_of(field, kind)


def _beginning(known: Mapping[str, Any], section: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return the initial values of an absent section when a flag sets one of its fields.

    They are those of its only sibling of the same kind, if there is one (task.train is the sibling of task.test), and
    else the defaults.
    """
    kinds = fields.sections(known[name])
    siblings = [
        section[other]
        for other, kind in known.items()
        if other != name and fields.sections(kind) == kinds and isinstance(section.get(other), Mapping)
    ]
    return copy.deepcopy(siblings[0]) if len(siblings) == 1 else fields.complete({}, kinds[0])


def _parse(kind: Any, text: str) -> Any:
    """Return the value that a flag's text stands for. Other text stays text, and `_check` refuses it.

    The texts of a tuple need no quotes, and a single value no comma: a,b is ("a", "b"), and 3 is (3,).
    """
    origin = typing.get_origin(fields.base(kind))
    if fields.base(kind) is str or origin is Literal:
        return text
    if text in ("true", "false"):
        return text == "true"
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        value = text
    if origin is tuple and isinstance(value, str):
        return tuple(value.removesuffix(",").split(",")) if value else ()
    several = isinstance(value, tuple | list | set | dict)
    if origin is tuple and not several:
        return (value,)
    return text if several and origin not in (tuple, dict) else value


def _build(kind: type[T], values: Mapping[str, Any], prefix: str) -> T:
    hints = fields.hints_of(kind)
    mistakes, built = Mistakes(), {}
    for name in values:
        if name not in hints:
            with mistakes:
                there = _hint(f"{prefix}{name}", str(name), hints, before="")
                raise ConfigError(f"{prefix}{name}={values[name]!r}: unknown field; {there}")
    missing = [f"{prefix}{name}" for name in hints if name not in values]
    if missing:
        with mistakes:
            are = agreeing(len(missing), "is missing; give it a value", "are missing; give them values")
            raise ConfigError(f"{', '.join(missing)}: {are}, see grpo_jax/config/schema.py.")
    for name, hint in hints.items():
        if name in values:
            with mistakes:
                build = _build_section if fields.sections(hint) else _check
                built[name] = build(hint, values[name], f"{prefix}{name}")
    mistakes.tell()
    return kind(**built)


def _build_section(kind: Any, value: Any, field: str) -> Any:
    if value is None and fields.is_optional(kind):
        return None
    if not isinstance(value, Mapping):
        raise ConfigError(f"{field}={value!r}: must be a section with fields, not {_noun(value)}.")
    chosen = fields.section_for(kind, value)
    if chosen is None:
        tag = fields.tag(kind)
        if tag not in value:
            raise ConfigError(f"{field}.{tag}: is missing; give it a value, one of {', '.join(fields.tags(kind))}.")
        known = list(fields.tags(kind))
        raise ConfigError(f"{field}.{tag}={value[tag]!r}: unknown; {did_you_mean(str(value[tag]), known)}")
    return _build(chosen, value, f"{field}.")


def _check(kind: Any, value: Any, field: str) -> Any:
    """Return a value in the type of its field. Raise ConfigError if it is of another type, or out of range."""
    base = fields.base(kind)
    if typing.get_origin(base) is dict:
        if not isinstance(value, Mapping) or not all(type(name) is str for name in value):
            raise ConfigError(f"{field}={value!r}: must be names with a value each, as in {{'name': 1.0}}.")
        return {name: _check(typing.get_args(base)[1], each, f"{field}.{name}") for name, each in value.items()}
    if typing.get_origin(base) is Literal:
        choices = typing.get_args(base)
        if value not in choices:
            raise ConfigError(f"{field}={value!r}: must be one of {', '.join(map(str, choices))}.")
        return value
    if typing.get_origin(base) is tuple:
        empty = any(isinstance(mark, MayBeEmpty) for mark in fields.marks(kind))
        if not isinstance(value, tuple | list) or not (value or empty):  # JSON has no tuples
            raise ConfigError(f"{field}={value!r}: must be a tuple{'' if empty else ' of at least one value'}.")
        return tuple(_check(typing.get_args(base)[0], item, f"{field}[{index}]") for index, item in enumerate(value))
    value = _plain(base, value)
    members = typing.get_args(base) if isinstance(base, types.UnionType) else (base,)
    if type(value) not in members:
        nouns = " or ".join(_NOUNS[member] for member in members)
        whole = int in members and isinstance(value, float) and value.is_integer() and WHOLE.admits(value)
        remedy = f"; write {value:.0f}" if whole else ""
        raise ConfigError(f"{field}={value!r}: must be {nouns}, not {_noun(value)}{remedy}.")
    ranges = [mark for mark in fields.marks(kind) if isinstance(mark, Range)]
    if base is int and all(allowed.high == math.inf for allowed in ranges):
        ranges.append(WHOLE)
    for allowed in ranges:
        if not allowed.admits(value):
            raise ConfigError(f"{field}={value!r}: must be {allowed}.")
    return value


def _plain(base: Any, value: Any) -> Any:
    """Return a number, such as NumPy's or an integer where a fraction may stand, as Python's; other values as they are.

    "inf" stands for infinity, because JSON has none.
    """
    if isinstance(value, bool):
        return value
    number = isinstance(value, Real)
    if base is float and (number or (isinstance(value, str) and value == "inf")):
        try:
            return float(value)
        except OverflowError:  # of an integer
            return math.inf if value > 0 else -math.inf
    return int(value) if base is int and isinstance(value, Integral) else value


_NOUNS: dict[type, str] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "a text",
    tuple: "a tuple",
    list: "a list",
    dict: "a section",
    types.NoneType: "nothing",
}


def _noun(value: Any) -> str:
    return _NOUNS.get(type(value), f"{type(value).__module__}.{type(value).__name__}")
