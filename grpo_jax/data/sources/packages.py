"""Packages that only some sources need."""

import importlib
from typing import Any

from grpo_jax.config import ConfigError


def optional_package(package: str, extra: str) -> Any:
    """The module of a package that belongs to an extra of setup.py. Raises ConfigError if it is not installed."""
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        if error.name != package:
            raise
        raise ConfigError(
            f"kind={extra!r}: needs the package {package}, which is not installed; pip install -e '.[{extra}]'."
        ) from error
