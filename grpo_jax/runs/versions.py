"""Which versions a run was made with."""

import hashlib
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import grpo_jax
from grpo_jax.config import SHIPPED

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
    """A hash of the source of these modules and packages of grpo_jax."""
    root = Path(grpo_jax.__file__).parent
    found = [path for part in parts for path in sorted([root / part, *(root / part).rglob("*.py")]) if path.is_file()]
    files = [path for path in found if not path.is_relative_to(SHIPPED)]  # only an installed package holds these
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in files)).hexdigest()[:16]


def versions() -> dict[str, str]:
    """The versions of Python, this package, and the libraries that numbers depend on."""
    return {
        "python": platform.python_version(),
        "grpo_jax": grpo_jax.__version__,
        **{library: version(library) for library in LIBRARIES},
    }
