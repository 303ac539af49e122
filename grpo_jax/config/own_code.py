"""A user's own code, named in a configuration as `package.module:NAME`."""

import importlib
from typing import Any

from grpo_jax.config.schema import ConfigError


def imported(field: str, path: str) -> Any:
    """What `package.module:NAME` names.

    Args:
      field: of the configuration, for the message.

    Raises:
      ConfigError: if it cannot be imported, whatever the reason.
    """
    module, _, name = path.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except Exception as error:  # whatever a user's module raises is reported as that module's fault
        raise ConfigError(
            f"{field}={path!r}: cannot be imported ({type(error).__name__}: {error}); if it is there, put its "
            "directory on PYTHONPATH, as in PYTHONPATH=. before the command."
        ) from error
