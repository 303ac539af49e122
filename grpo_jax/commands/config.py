"""Compare two configurations: print the fields in which they differ, with both values.

    grpo config diff two_grpo grpo_16              # shipped configurations, or config files
    grpo config diff runs/two_grpo runs/grpo_16    # the configurations of runs

A CONFIG is a config file, the name of a shipped one, the directory of a run, or a file of --print-config. Fields
that a run of an earlier version did not record have the values of that time. A .json file is taken as it stands, so
`grpo config diff RUN/config.json RUN` lists these fields.

Exit codes, as those of diff: 0 no difference; 1 differences; 2 a configuration cannot be read.
"""

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from grpo_jax.commands import reports_mistakes
from grpo_jax.config import ConfigError, command_line, differences, load, to_dict
from grpo_jax.config.continuing import Difference
from grpo_jax.files import read_json, run_config
from grpo_jax.terminal import PlainConsole, columns


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the flags."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("diff",), help="what to do")
    parser.add_argument("config", nargs=2, type=command_line.path, metavar="CONFIG", help="what to compare")
    return parser


@reports_mistakes
def main(argv: Sequence[str]) -> int:
    """Run the command line, and return the exit code."""
    first, second = command_line.read(make_parser(), argv).config
    found = [one for each in differences(_values(first), _values(second)) for one in _fields(each)]
    if not found:
        return 0
    rows = [(one.field, _text(one.first), _text(one.second)) for one in found]
    PlainConsole().say("\n".join(columns([("field", str(first), str(second)), *rows])))
    return 1


def _values(path: Path) -> Mapping[str, Any]:
    """Return the values of a configuration. Raise ConfigError if there is none of that name."""
    try:
        if path.is_dir():
            return run_config(path)
    except FileNotFoundError as error:
        raise ConfigError(str(error)) from error
    if len(path.parts) > 1 and not path.exists():
        raise ConfigError(f"{path}: no such run or file; name a run, a config file, or a shipped configuration.")
    return read_json(path) if path.suffix == ".json" and path.is_file() else to_dict(load(path))


def _fields(found: Difference) -> Iterator[Difference]:
    """Yield a difference between sections as differences between their fields. A section that is absent has none."""
    sides = (found.first, found.second)
    names = dict.fromkeys(name for side in sides if isinstance(side, Mapping) for name in side)
    if not names:
        yield found
    for name in names:
        first, second = (side.get(name) if isinstance(side, Mapping) else side for side in sides)
        if first != second:
            yield from _fields(Difference(f"{found.field}.{name}", first, second))


def _text(value: Any) -> str:
    return "none" if value is None else json.dumps(value)
