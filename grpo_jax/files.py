"""Small files that are read whole, and written whole or not at all."""

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from grpo_jax.config import ConfigError


def read_json(path: Path) -> dict[str, Any]:
    """An object. Raises ConfigError if the file holds none."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(f"{path}: is damaged ({error}); restore it, or name another directory.") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: is damaged (it holds no object); restore it, or name another directory.")
    return values


def plain(value: Any) -> Any:
    """A record as JSON has it, which has no NaN and no infinity: a number that is not known is null."""
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_whole(path: Path, text: str) -> None:
    """The file appears, or is replaced, by a rename."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)
