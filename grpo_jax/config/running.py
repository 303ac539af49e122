"""Run a user's Python file: a configuration or a study."""

import os
import runpy
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

import grpo_jax
from grpo_jax.config.own_code import located
from grpo_jax.config.schema import ConfigError
from grpo_jax.config.sentences import did_you_mean

_PLACES = [Path(grpo_jax.__file__).parents[above] / "configs" for above in (0, 1)]
SHIPPED = next((place for place in _PLACES if place.is_dir()), _PLACES[0])  # in an installed package, or beside it


@dataclass(frozen=True)
class Kind:
    """A kind of file that users write."""

    flag: str  # the flag that names such a file
    function: str  # the function that it must have, without arguments


CONFIGURATION = Kind("--config", "get_config")
STUDY = Kind("--study", "get_study")


def shipped(kind: Kind) -> dict[str, Path]:
    """Return the files of a kind that the package ships, by their names without `.py`."""
    files = sorted(SHIPPED.rglob("*.py"))
    return {path.stem: path for path in files if f"def {kind.function}(" in path.read_text(encoding="utf-8")}


def find_file(named: str | Path, kind: Kind) -> Path:
    """Return the path of an existing file, or of the shipped file with that name, such as `two_grpo`.

    Raises:
      ConfigError: if there is neither.
    """
    path = Path(os.path.expanduser(named))
    if path.is_file():
        return path
    known = shipped(kind)
    if str(named) in known:
        return known[str(named)]
    wrong = "is a directory" if named and path.is_dir() else "no such file"
    raise ConfigError(
        f"{kind.flag}={named}: {wrong}; name a Python file with {kind.function}(), or a shipped one without .py; "
        f"{did_you_mean(path.stem, list(known))}"
    )


def run_file(named: str | Path, kind: Kind) -> Any:
    """Run a Python file, and return the result of its function.

    As in a script, the file may import files from its own directory. So may each file that it imports. The shipped
    configurations can be imported anywhere: `import two_grpo` or `from configs import two_grpo`.

    Args:
      named: as in `find_file`.

    Raises:
      ConfigError: if there is no such file, or if it raises anything.
    """
    path, flag, function = find_file(named, kind), kind.flag, kind.function
    try:
        with _siblings_found(path.resolve().parent):
            there = runpy.run_path(str(path))
            if function in there:
                return there[function]()
    except (Exception, SystemExit) as error:  # any exception of a user's file is that file's fault
        raise ConfigError(f"{flag}={path}: cannot be run ({located(error)}); correct that.") from error
    raise ConfigError(f"{flag}={path}: has no {function}(); name a file that has one, such as those in configs/.")


@contextmanager
def _siblings_found(directory: Path) -> Iterator[None]:
    """Let files import others from their own directories. Afterwards forget those, because names may recur."""
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
    """Finds modules beside the importing file and among the shipped configurations, if Python finds none."""

    def __init__(self) -> None:
        self.found: set[str] = set()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find a top-level module; Python calls this after its own finders have failed."""
        if path is not None:  # a submodule of a package
            return None
        places = [_directory_of_importer(), SHIPPED, SHIPPED / "paper"]
        if fullname == SHIPPED.name:
            places.append(SHIPPED.parent)
        spec = PathFinder.find_spec(fullname, [str(place) for place in places if place])
        if spec is not None:
            self.found.add(fullname)
        return spec


def _directory_of_importer() -> Path | None:
    """Return the directory of the file whose import statement is running; None if that is part of a package."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and (frame.f_code.co_filename == __file__ or "importlib" in frame.f_code.co_filename):
        frame = frame.f_back
    file = frame.f_globals.get("__file__") if frame is not None else None
    directory = Path(file).resolve().parent if file else None
    return None if directory is None or (directory / "__init__.py").exists() else directory
