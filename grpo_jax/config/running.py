"""Runs a user's Python file: a configuration, or a study."""

import runpy
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

from grpo_jax.config.schema import ConfigError

SHIPPED = Path(__file__).parents[2] / "configs"


def run_file(path: Path, function: str, flag: str) -> Any:
    """What a function without arguments of a Python file returns.

    As in a script, the file may import its siblings; so may each file that it imports, wherever that lies. The shipped
    configurations are found from anywhere: `import two_grpo`, or `from configs import two_grpo`.

    Args:
      flag: that named the file, for messages.

    Raises:
      ConfigError: if there is no such file, or whatever the file raises.
    """
    if not path.is_file():
        raise ConfigError(f"{flag}={path}: no such file; name a Python file with {function}(), see configs/.")
    try:
        with _siblings_found(path.resolve().parent):
            there = runpy.run_path(str(path))
            if function in there:
                return there[function]()
    except (Exception, SystemExit) as error:  # whatever a user's file raises is reported as that file's fault
        raise ConfigError(f"{flag}={path}: {function}() cannot be run: {type(error).__name__}: {error}.") from error
    raise ConfigError(f"{flag}={path}: has no {function}(); name a file that has, see configs/.")


@contextmanager
def _siblings_found(directory: Path) -> Iterator[None]:
    """Within it siblings are found. Afterwards they are forgotten: another file may have some of the same names."""
    siblings, before = _Siblings(), set(sys.modules)
    sys.path.insert(0, str(directory))
    sys.meta_path.append(siblings)
    try:
        yield
    finally:
        sys.meta_path.remove(siblings)
        sys.path.remove(str(directory))
        for name in set(sys.modules) - before:
            file = getattr(sys.modules[name], "__file__", None)
            if name in siblings.found or (file and Path(file).parent == directory):
                del sys.modules[name]


class _Siblings(MetaPathFinder):
    """Looks for what is found nowhere else beside the file that imports it, and among the shipped configurations."""

    def __init__(self) -> None:
        self.found: set[str] = set()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if path is not None:  # a part of a package
            return None
        places = [_directory_of_importer(), SHIPPED, SHIPPED / "paper"]
        if fullname == SHIPPED.name:
            places.append(SHIPPED.parent)
        spec = PathFinder.find_spec(fullname, [str(place) for place in places if place])
        if spec is not None:
            self.found.add(fullname)
        return spec


def _directory_of_importer() -> Path | None:
    """Where the file lies whose import statement is being carried out; None for a library, which is a package."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and (frame.f_code.co_filename == __file__ or "importlib" in frame.f_code.co_filename):
        frame = frame.f_back
    file = frame.f_globals.get("__file__") if frame is not None else None
    directory = Path(file).resolve().parent if file else None
    return None if directory is None or (directory / "__init__.py").exists() else directory
