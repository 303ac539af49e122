"""Data sets of the Hugging Face Hub, or of a directory in one of its formats."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from grpo_jax.config import ConfigError, SourceConfig
from grpo_jax.data.sources.arrow import row
from grpo_jax.data.sources.records import Records
from grpo_jax.hub import clause

_REPOSITORY = re.compile(r"(?P<id>[\w.-]+/[\w.-]+)(@(?P<revision>[^/]+))?(/(?P<subset>[^/]+))?")
_SECONDS = 5.0  # for the Hub to answer; the library itself would try for half a minute


def open_huggingface(config: SourceConfig) -> Records:
    """Return the records of a split. A repository is downloaded once; HF_HUB_OFFLINE=1 uses only the cache.

    Raises:
      ConfigError: if the Hub cannot be reached, or if it has no such repository, subset or split.
    """
    import datasets

    directory = Path(config.path).expanduser()
    if directory.is_dir():
        name, revision, subset = str(directory), None, None
    elif match := _REPOSITORY.fullmatch(config.path):
        name, revision, subset = match["id"], match["revision"], match["subset"]
        _check_repository(name, revision, config.path)
    else:
        raise ConfigError(
            f"path={config.path!r}: neither a directory nor a repository; write owner/name, owner/name/subset or"
            " owner/name@revision/subset."
        )
    try:
        data = datasets.load_dataset(name, subset, split=config.split, revision=revision)
    except ConnectionError as error:
        raise _unreachable(config.path, error) from error
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        reason = clause(error.__cause__ if isinstance(error.__cause__, Exception) else error)
        raise ConfigError(
            f"path={config.path!r}: split {config.split!r} cannot be read ({reason}); check the name, the"
            " subset and the split."
        ) from error
    tables = data.with_format("arrow")

    def read(index: int) -> Mapping[str, Any]:
        try:
            return row(tables[index], 0)
        except ValueError as error:
            raise ConfigError(f"path={config.path!r}: {where(index)} {error}; repair the data set.") from error

    def where(index: int) -> str:
        return f"{config.path} {config.split}, {index}"

    return Records(len(data), read, where)


def repository_of(config: SourceConfig) -> str:
    """Return the repository that a source of this kind reads, without revision and subset; "" for a directory."""
    match = _REPOSITORY.fullmatch(config.path)
    return match["id"] if match and not Path(config.path).expanduser().is_dir() else ""


def _check_repository(name: str, revision: str | None, path: str) -> None:
    """Ask the Hub for a repository. Raises ConfigError within seconds if the Hub does not answer or lacks it."""
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError

    if huggingface_hub.constants.is_offline_mode():
        return
    try:
        huggingface_hub.HfApi().dataset_info(name, revision=revision, timeout=_SECONDS)
    except HfHubHTTPError as error:
        raise ConfigError(
            f"path={path!r}: the Hub refuses it ({clause(error)}); check the name, or log in with `hf auth login`."
        ) from error
    except Exception as error:  # of the HTTP client, which depends on the version of the Hub's library
        raise _unreachable(path, error) from error


def _unreachable(path: str, error: Exception) -> ConfigError:
    return ConfigError(
        f"path={path!r}: the Hugging Face Hub cannot be reached ({clause(error)}); connect, or load the data set"
        " once where there is a network and set HF_HUB_OFFLINE=1 here, or name a directory with its files."
    )
