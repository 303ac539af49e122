"""Data sets that tensorflow-datasets has prepared, read without TensorFlow."""

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from grpo_jax.config import ConfigError, SourceConfig
from grpo_jax.data.sources.records import Records

# Builders that tfds finds only after their module is imported.
_MODULES = {"gsm8k": "tensorflow_datasets.text.gsm8k"}


def open_tfds(config: SourceConfig) -> Records:
    """Return the records of a split of a prepared data set. Nothing is downloaded: offline, tfds would try for minutes.

    Raises:
      ConfigError: for an unknown builder or split, and for data that are not prepared or have no random access.
    """
    builder = _builder(config.path)
    from tensorflow_datasets.core import file_adapters

    if not builder.is_prepared():
        raise ConfigError(
            f"path={config.path!r}: is not prepared in {builder.data_path}; with a network, run"
            f" {_preparation(config.path)}, and set TFDS_DATA_DIR to its directory."
        )
    if not builder.info.available_file_formats() & file_adapters.FileFormat.with_random_access():
        raise ConfigError(
            f"path={config.path!r}: is prepared as {builder.info.file_format.value}, which has no random access;"
            f" remove {builder.data_path} and run {_preparation(builder.name)}."
        )
    try:
        source = builder.as_data_source(config.split)
    except ValueError as error:
        raise ConfigError(
            f"split={config.split!r}: cannot be read ({_first_line(error)}); it has {', '.join(builder.info.splits)}."
        ) from error
    types = builder.info.features.np_dtype

    def read(index: int) -> Mapping[str, Any]:
        return {name: _at_its_width(value, types[name]) for name, value in source[index].items()}

    return Records(len(source), read, lambda index: f"{builder.info.full_name} {config.split}, {index}")


def _at_its_width(value: Any, type_: Any) -> Any:
    """Return the value with its feature's type, since tfds converts single floats to doubles."""
    if isinstance(value, Mapping) and isinstance(type_, Mapping):
        return {name: _at_its_width(inner, type_[name]) for name, inner in value.items()}
    return np.dtype(type_).type(value) if isinstance(value, float) else value


def _builder(path: str) -> Any:
    import tensorflow_datasets

    directory = Path(path).expanduser()
    if (directory / "dataset_info.json").is_file():
        return tensorflow_datasets.builder_from_directory(directory)
    if directory.is_absolute():
        raise ConfigError(
            f"path={path!r}: has no dataset_info.json; name the directory of one version, as in .../gsm8k/1.0.0."
        )
    if module := _MODULES.get(_name(path)):
        importlib.import_module(module)
    try:
        return tensorflow_datasets.builder(path)
    except (tensorflow_datasets.core.DatasetNotFoundError, AssertionError, ValueError) as error:
        raise ConfigError(
            f"path={path!r}: unknown to tensorflow-datasets ({_first_line(error)}); name one of its builders, as in"
            " gsm8k, or the directory of a prepared one."
        ) from error


def _preparation(path: str) -> str:
    """Return the command that prepares a builder."""
    module = _MODULES.get(_name(path), "tensorflow_datasets")
    builder = f"tensorflow_datasets.builder('{path}', file_format='array_record')"
    return f'`python -c "import {module}; {builder}.download_and_prepare()"`'


def _name(path: str) -> str:
    return path.partition("/")[0].partition(":")[0]


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".:")
