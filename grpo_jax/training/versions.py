"""Which versions a run was made with."""

import platform
from importlib.metadata import version

import grpo_jax

LIBRARIES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "transformers")


def versions() -> dict[str, str]:
    """The versions of Python, this package, and the libraries that numbers depend on."""
    return {
        "python": platform.python_version(),
        "grpo_jax": grpo_jax.__version__,
        **{library: version(library) for library in LIBRARIES},
    }
