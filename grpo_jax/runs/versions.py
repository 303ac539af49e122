"""The versions of the code and the libraries that a run was made with."""

import functools
import hashlib
import os
import platform
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


def code_digest() -> str:
    """Return a hash of the source of this package."""
    files = sorted(Path(grpo_jax.__file__).parent.rglob("*.py"))
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()[:16]


def cores() -> int:
    """Return how many CPU cores this process may use. On CPU they decide how sums are split, and so the last bits."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def versions() -> dict[str, str]:
    """Return the versions of Python, of this package, and of the libraries that numbers depend on."""
    libraries = {library: _version(library) for library in LIBRARIES}
    return {"python": platform.python_version(), "grpo_jax": grpo_jax.__version__, **libraries}


_version = functools.cache(version)  # it searches all that is installed
