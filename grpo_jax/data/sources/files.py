"""The files that a source's path names."""

import glob
import os
from pathlib import Path

from grpo_jax.config import ConfigError


def find_files(path: str) -> list[Path]:
    """The files that match a name or pattern, in one order on every host. Raises ConfigError if there are none."""
    expanded = os.path.expanduser(path)
    # A name comes before a pattern: brackets are allowed in names.
    found = [expanded] if Path(expanded).exists() else sorted(glob.glob(expanded, recursive=True))
    files = [Path(name) for name in found if Path(name).is_file()]
    if not files:
        raise ConfigError(f"path={path!r}: no such file; name a file, or several by a pattern such as data/*.jsonl.")
    for file in files:
        try:
            file.open("rb").close()
        except OSError as error:
            raise ConfigError(f"path={path!r}: {file} cannot be opened ({error.strerror}).") from error
    return files
