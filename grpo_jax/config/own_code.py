"""The user's own code, which a configuration names as `package.module:NAME`."""

import ast
import functools
import hashlib
import importlib
import importlib.util
import site
import sys
import sysconfig
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from grpo_jax.config.schema import Config, ConfigError, OwnTaskConfig, QuestionsConfig
from grpo_jax.config.sentences import described, nearest

PACKAGE = __name__.partition(".")[0]  # grpo_jax itself, whose commit is recorded instead
HERE = Path(__file__).resolve().parents[1]  # its directory


def imported(field: str, path: str) -> Any:
    """Return the object that `package.module:NAME` names.

    Args:
      field: the configuration field that holds the name, for the message.

    Raises:
      ConfigError: if it cannot be imported, for any reason.
    """
    name_of_module, _, name = path.partition(":")
    if not (name_of_module and name):
        raise ConfigError(f"{field}={path!r}: names no part of a module; write package.module:NAME.")
    try:
        module = importlib.import_module(name_of_module)
    except (Exception, SystemExit) as error:  # whatever a user's module raises is that module's fault
        remedy = _remedy(name_of_module, error)
        raise ConfigError(f"{field}={path!r}: cannot be imported ({located(error)}); {remedy}.") from error
    if not hasattr(module, name):
        near = nearest(name, list(vars(module)))
        remedy = f"did you mean {near}?" if near else "define it there, or name something else."
        raise ConfigError(f"{field}={path!r}: {name_of_module} has no {name!r}; {remedy}")
    return getattr(module, name)


def _remedy(module: str, error: BaseException) -> str:
    """Return what to do about an error of importing a module."""
    if not isinstance(error, ModuleNotFoundError) or not f"{module}.".startswith(f"{error.name}."):
        return "correct that"  # in the module, or in what it imports
    if "/" in module or module.endswith(".py"):
        return "name it without .py, and with dots for slashes, as in package.module:NAME"
    return "if it is there, put its directory on PYTHONPATH, as in PYTHONPATH=. before the command"


def located(error: BaseException) -> str:
    """Return `described`, and the last place in files of the user's own that the error passed through, if any."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if Path(frame.filename).is_file() and _is_users(Path(frame.filename).resolve())]
    return described(error) + (f", in {own[-1].filename}:{own[-1].lineno}" if own else "")


@contextmanager
def blaming(what: str, remedy: str = "correct it") -> Iterator[None]:
    """Report whatever is raised inside as a mistake in a user's own code.

    Args:
      what: the beginning of the sentence: a field, its value, and what cannot be done.
      remedy: its end, without the full stop.

    Raises:
      ConfigError: instead of any other error.
    """
    try:
        yield
    except ConfigError:
        raise
    except (Exception, SystemExit) as error:
        raise ConfigError(f"{what} ({located(error)}); {remedy}.") from error


def own_code(config: Config) -> dict[str, str]:
    """Return the import paths of the user's own code in a configuration, each with the field that names it."""
    named = [("objective.name", config.objective.name)]
    if isinstance(config.task, QuestionsConfig):
        named += [("task.reward.terms", term) for term in config.task.reward.terms]
        sources = {"task.train.kind": config.task.train, "task.test.kind": config.task.test}
        named += [(field, source.kind) for field, source in sources.items() if source is not None]
    if isinstance(config.task, OwnTaskConfig):
        named.append(("task.factory", config.task.factory))
    return {path: field for field, path in named if ":" in path}


def source_digests(path: str) -> dict[str, str]:
    """Return hashes of the source files that imported code consists of, by module name.

    These are the module that `package.module:NAME` names, and all modules that it imports directly or indirectly from
    the user's own files, which lie outside Python's library, installed packages and this package. If the named module
    is in an installed package, that package's modules count as the user's own. Modules that are imported under computed
    names are not found. Data files are not covered.
    """
    first = path.partition(":")[0]
    found: dict[str, str] = {}
    todo = [first]
    while todo:
        name = todo.pop()
        file = source_file(name)
        if name in found or file is None or not _is_own(name, file, first):
            continue
        source = file.read_bytes()
        found[name] = hashlib.sha256(source).hexdigest()
        todo += _imports(source, name, is_package=file.name == "__init__.py")
    return dict(sorted(found.items()))


def _is_own(name: str, file: Path, first: str) -> bool:
    top = name.partition(".")[0]
    if top == PACKAGE:
        return False
    return top == first.partition(".")[0] or _is_users(file)


def _is_users(file: Path) -> bool:
    """Return whether a file is outside of Python's library, of installed packages and of this package."""
    return not any(file.is_relative_to(place) for place in (*_installed(), HERE))


@functools.cache
def _installed() -> list[Path]:
    """Return the directories of Python's library and of installed packages."""
    paths = sysconfig.get_paths()
    places = [paths["stdlib"], paths["platstdlib"], paths["purelib"], paths["platlib"], *site.getsitepackages()]
    return [Path(place).resolve() for place in {*places, site.getusersitepackages()}]


def source_file(name: str) -> Path | None:
    """Return the source file of a module, if it has one. The module need not be imported, and is not imported here."""
    loaded = getattr(sys.modules.get(name), "__file__", None)
    top, *inside = name.split(".")
    if loaded:
        candidates = [Path(loaded)]
    else:
        try:
            spec = importlib.util.find_spec(top)  # a name without dots runs no code
        except (ImportError, ValueError):
            return None
        places = [Path(place, *inside) for place in (spec.submodule_search_locations or ())] if spec else []
        candidates = [place for one in places for place in (one / "__init__.py", one.with_suffix(".py"))]
        candidates += [Path(spec.origin)] if spec and spec.origin and not inside else []
    return next((file.resolve() for file in candidates if file.suffix == ".py" and file.is_file()), None)


def _imports(source: bytes, module: str, *, is_package: bool) -> Iterator[str]:
    """Yield the names of all modules that a source may import anywhere. Some may be names of other objects."""
    package = module if is_package else module.rpartition(".")[0]
    yield from (package,) if package else ()  # its __init__.py runs first
    try:
        tree = ast.parse(source)
    except SyntaxError:  # such a file cannot be imported anyway
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)
