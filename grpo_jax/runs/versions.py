"""The versions of the code and the libraries that a run was made with."""

import ast
import hashlib
import os
import platform
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path

import grpo_jax

LIBRARIES = (
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "orbax-checkpoint",
    "grain",
    "numpy",
    "transformers",
    "tokenizers",
    "safetensors",
    "sympy",
    "math-verify",
)


def code_digest(parts: Sequence[str]) -> str:
    """Return a hash of the source of these modules and packages of grpo_jax."""
    return _short_hash(path.read_bytes() for path in _files(parts))


def program_digest(parts: Sequence[str]) -> str:
    """Return a hash of the syntax trees of these modules and packages, without docstrings, comments and layout."""
    return _short_hash(program(path.read_bytes()).encode() for path in _files(parts))


def program(source: bytes) -> str:
    """Return the syntax tree of a source as text, without docstrings and without positions in the file."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = node.body[ast.get_docstring(node, clean=False) is not None :]
    return ast.dump(tree)


def _files(parts: Sequence[str]) -> list[Path]:
    root = Path(grpo_jax.__file__).parent
    return [path for part in parts for path in sorted([root / part, *(root / part).rglob("*.py")]) if path.is_file()]


def _short_hash(texts: Iterable[bytes]) -> str:
    return hashlib.sha256(b"\0".join(texts)).hexdigest()[:16]


def cores() -> int:
    """Return how many CPU cores this process may use. On CPU they decide how sums are split, and so the last bits."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def versions() -> dict[str, str]:
    """Return the versions of Python, of this package, and of the libraries that numbers depend on."""
    return {
        "python": platform.python_version(),
        "grpo_jax": grpo_jax.__version__,
        **{library: version(library) for library in LIBRARIES},
    }
