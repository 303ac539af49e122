"""The code that a computation runs through, found by what it imports, and a hash of what that code does."""

import ast
import functools
import hashlib
from collections.abc import Iterable

import grpo_jax
from grpo_jax.config.own_code import source_file

PACKAGE = grpo_jax.__name__


def modules_behind(*roots: str) -> set[str]:
    """Return the names of these modules, and of all modules of grpo_jax that they import, directly or not.

    A name that is imported from a package leads to the module that defines it, not to all modules of that package.
    Modules without a source file, such as a notebook, are left out.
    """
    found: set[str] = set()
    todo = list(roots)
    while todo:
        module = todo.pop()
        file = source_file(module)
        if module not in found and file is not None:
            found.add(module)
            todo += [_home(*imported) for imported in _imports(file.read_bytes())]
    return found


def program_digest(modules: Iterable[str]) -> str:
    """Return a hash of what the source of these modules does: no docstrings, comments or layout."""
    whole = hashlib.sha256()
    for module in sorted(modules):
        file = source_file(module)
        assert file is not None  # as `modules_behind` has made sure
        whole.update(f"{module}\0{program(file.read_bytes())}\0".encode())
    return whole.hexdigest()[:16]


@functools.cache  # a process that trains many runs reads the same files again
def program(source: bytes) -> str:
    """Return the syntax tree of a source as text, without docstrings and without positions in the file."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = node.body[ast.get_docstring(node, clean=False) is not None :]
    return ast.dump(tree)


@functools.cache
def _imports(source: bytes) -> tuple[tuple[str, str], ...]:
    """Return all imports from grpo_jax in a source: modules, and the names taken from them, if any."""
    found: list[tuple[str, str]] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += ((alias.name, "") for alias in node.names if alias.name.partition(".")[0] == PACKAGE)
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] == PACKAGE:
            found += ((node.module, alias.name) for alias in node.names)
    return tuple(found)


def _home(module: str, name: str) -> str:
    """Return the module in which a name that is imported from this one is defined; it may be a module itself."""
    if name and source_file(f"{module}.{name}"):
        return f"{module}.{name}"
    file = source_file(module)
    if file is not None and file.name == "__init__.py":
        for source, passed_on in _imports(file.read_bytes()):
            if passed_on == name:
                return _home(source, name)
    return module
