"""From a config file and the command line's overrides to a validated `Config`.

A config file has a function `get_config()` that returns a `ConfigDict` naming every field of the schema. Whatever
cannot work is refused with one sentence that names the field, its value and the remedy, before anything is built.
Nothing outside this file knows `ml_collections`.
"""

import ast
import copy
import dataclasses
import difflib
import hashlib
import json
import math
import types
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from ml_collections import ConfigDict

from grpo_jax.config.mistakes import Mistakes
from grpo_jax.config.rules import RULES
from grpo_jax.config.running import run_file
from grpo_jax.config.schema import Config, ConfigError

T = TypeVar("T")


def load(path: str | Path, overrides: Iterable[tuple[str, str]] = ()) -> Config:
    """The configuration of a config file, with overrides from the command line.

    Args:
      path: a Python file with `get_config() -> ConfigDict`; what it may import: see `run_file`.
      overrides: (dotted field, text) pairs, as in `("optimizer.learning_rate", "1e-4")`; later ones win.

    Raises:
      ConfigError: for a file that cannot be read, or with a sentence for every field that is unknown, missing, of the
        wrong type or out of range; if there is none of these, for those that are impossible together.
    """
    values, mistakes = _run_config_file(Path(path)), Mistakes()
    # What says which of several sections stands somewhere comes first, and then the fields of that section.
    tags = set(_tag_fields(Config))
    for field, text in sorted(overrides, key=lambda override: override[0] not in tags):
        with mistakes:
            _override(values, field, text)
    with mistakes:
        config = _build(Config, values, prefix="")
    mistakes.tell()
    check(config)
    return config


def from_dict(values: Mapping[str, Any]) -> Config:
    """The configuration that a nested mapping describes (such as a run's config.json). Raises ConfigError."""
    config = _build(Config, values, prefix="")
    check(config)
    return config


def check(config: Config) -> None:
    """Raises ConfigError with a sentence of each rule that is broken, if fields cannot be as they are together."""
    broken = [sentence for sentence in (rule(config) for rule in RULES) if sentence]
    if broken:
        raise ConfigError(*broken)


def to_dict(config: Config) -> dict[str, Any]:
    """The nested dictionary of plain JSON values that `from_dict` turns back into this configuration."""

    def as_json(value: Any) -> Any:
        if isinstance(value, tuple):
            return list(value)
        return "inf" if value == math.inf else value

    def plain(fields: list[tuple[str, Any]]) -> dict[str, Any]:
        return {name: as_json(value) for name, value in fields}

    return dataclasses.asdict(config, dict_factory=plain)


def digest(values: Mapping[str, Any]) -> str:
    """A short hash of a nested dictionary of plain values, the same in every process."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """The tail of a sentence about an unknown name: the nearest known one, or all of them."""
    near = difflib.get_close_matches(word, known, n=1)
    return f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}."


def _run_config_file(path: Path) -> dict[str, Any]:
    values = run_file(path, "get_config", "--config")
    if not isinstance(values, ConfigDict):
        raise ConfigError(f"--config={path}: get_config() returned {type(values).__name__}; return a ConfigDict.")
    return values.to_dict()


def _override(values: dict[str, Any], field: str, text: str) -> None:
    *sections, leaf = field.split(".")
    kind: Any = Config
    section: Any = values
    for depth, name in enumerate([*sections, leaf]):
        where = ".".join([*sections, leaf][: depth + 1])
        if typing.get_origin(_base(kind)) is dict:  # whose names are free, and may have dots: package.module:function
            section[".".join([*sections, leaf][depth:])] = _parse(typing.get_args(_base(kind))[1], text)
            return
        union, chosen = kind, _section(kind, section)
        known = typing.get_type_hints(chosen, include_extras=True) if chosen else {}
        if name not in known:
            raise ConfigError(f"--config.{field}={text}: unknown field {where}; {did_you_mean(name, list(known))}")
        if depth < len(sections):
            if section.get(name) is None:
                section[name] = _beginning(known, section, name)
            section = section[name]
        kind = known[name]
    if _sections(kind) and not (_is_optional(kind) and text == "none"):
        raise ConfigError(f"--config.{field}={text}: is a section; set one of its fields, as in {field}.NAME=VALUE.")
    if len(_sections(union)) > 1 and leaf == _tag(union) and _tags(union).get(text, chosen) is not chosen:
        section.clear()  # another section begins here, which flags must set all fields of
    section[leaf] = None if _sections(kind) else _parse(kind, text)


def _beginning(known: Mapping[str, Any], section: Mapping[str, Any], name: str) -> dict[str, Any]:
    """What a section that is absent begins with when a flag sets one of its fields.

    These are the fields of its only sibling of the same kind, as task.test has those of task.train, if there is one;
    else flags must set all of them.
    """
    kinds = _sections(known[name])
    siblings = [
        section[other]
        for other, kind in known.items()
        if other != name and _sections(kind) == kinds and isinstance(section.get(other), Mapping)
    ]
    return copy.deepcopy(siblings[0]) if len(siblings) == 1 else {}


def _tag_fields(kind: Any, prefix: str = "") -> Iterator[str]:
    """The dotted names of all fields that tell which of several sections stands somewhere."""
    for name, hint in typing.get_type_hints(kind, include_extras=True).items():
        if len(_sections(hint)) > 1:
            yield f"{prefix}{name}.{_tag(hint)}"
        for section in _sections(hint):
            yield from _tag_fields(section, f"{prefix}{name}.")


def _parse(kind: Any, text: str) -> Any:
    """The text of a flag as a value; text that is none stays text, for `_check` to refuse."""
    if _base(kind) is str or typing.get_origin(_base(kind)) is Literal:
        return text
    if text in ("true", "false"):
        return text == "true"
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _build(kind: type[T], values: Mapping[str, Any], prefix: str) -> T:
    hints = typing.get_type_hints(kind, include_extras=True)
    mistakes, built = Mistakes(), {}
    for name in values:
        if name not in hints:
            with mistakes:
                raise ConfigError(
                    f"{prefix}{name}={values[name]!r}: unknown field; {did_you_mean(str(name), list(hints))}"
                )
    missing = [f"{prefix}{name}" for name in hints if name not in values]
    if missing:
        with mistakes:
            are = "is missing; give it a value" if len(missing) == 1 else "are missing; give them values"
            raise ConfigError(f"{', '.join(missing)}: {are}, see configs/two_grpo.py.")
    for name, hint in hints.items():
        if name in values:
            with mistakes:
                build = _build_section if _sections(hint) else _check
                built[name] = build(hint, values[name], f"{prefix}{name}")
    mistakes.tell()
    return kind(**built)


def _build_section(kind: Any, value: Any, field: str) -> Any:
    if value is None and _is_optional(kind):
        return None
    if not isinstance(value, Mapping):
        raise ConfigError(f"{field}={value!r}: must be a section with fields, not {_noun(value)}.")
    chosen = _section(kind, value)
    if chosen is None:
        tag = _tag(kind)
        if tag not in value:
            raise ConfigError(f"{field}.{tag}: is missing; give it a value, one of {', '.join(_tags(kind))}.")
        raise ConfigError(f"{field}.{tag}={value[tag]!r}: unknown; {did_you_mean(str(value[tag]), list(_tags(kind)))}")
    return _build(chosen, value, f"{field}.")


def _sections(kind: Any) -> list[Any]:
    """The dataclasses that a field of this kind may hold; none for a plain value."""
    members = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    return [member for member in members if dataclasses.is_dataclass(member)]


def _section(kind: Any, values: Any) -> Any:
    """The dataclass that these values are for. In a union, the first field of each tells which."""
    sections = _sections(kind)
    if len(sections) < 2:
        return sections[0] if sections else None
    chosen = values.get(_tag(kind))
    return _tags(kind).get(chosen) if isinstance(chosen, str) else None


def _tag(kind: Any) -> str:
    """The name of the field that tells the dataclasses of a union apart."""
    return dataclasses.fields(_sections(kind)[0])[0].name


def _tags(kind: Any) -> dict[str, Any]:
    """The dataclasses of a union, by what their first field may say."""
    return {
        name: section
        for section in _sections(kind)
        for name in typing.get_args(typing.get_type_hints(section)[dataclasses.fields(section)[0].name])
    }


def _is_optional(kind: Any) -> bool:
    return types.NoneType in typing.get_args(kind)


def _check(kind: Any, value: Any, field: str) -> Any:
    base = _base(kind)
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
        if not isinstance(value, tuple | list) or not value:  # JSON has no tuples
            raise ConfigError(f"{field}={value!r}: must be a tuple of at least one value.")
        return tuple(_check(typing.get_args(base)[0], item, f"{field}[{index}]") for index, item in enumerate(value))
    if base is float and (type(value) is int or value == "inf"):  # JSON has no infinity
        value = float(value)
    if type(value) is not base:
        raise ConfigError(f"{field}={value!r}: must be {_NOUNS[base]}, not {_noun(value)}.")
    for allowed in getattr(kind, "__metadata__", ()):
        if not allowed.admits(value):
            raise ConfigError(f"{field}={value!r}: must be {allowed}.")
    return value


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
    return _NOUNS.get(type(value), "that")


def _base(kind: Any) -> Any:
    return typing.get_args(kind)[0] if typing.get_origin(kind) is Annotated else kind
