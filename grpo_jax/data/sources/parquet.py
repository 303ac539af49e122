"""Parquet files, read by row groups."""

import bisect
import functools
import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grpo_jax.config import ConfigError, SourceConfig, one_line
from grpo_jax.data.sources.arrow import row
from grpo_jax.data.sources.records import Records, concatenate
from grpo_jax.files import find_files

if TYPE_CHECKING:
    import pyarrow

# Row groups of each file in memory. Data sets have groups of a thousand rows, or one or two of a million.
GROUPS_KEPT = 2


def open_parquet(config: SourceConfig) -> Records:
    """Return the records of all files that match. A row group is read when one of its rows is accessed.

    Raises:
      ConfigError: for a missing file, and for one that is not Parquet.
    """
    return concatenate([_open(file, config.path) for file in find_files(config.path)])


def _open(file: Path, path: str) -> Records:
    """Return the rows of a file as records. A row group is read when one of its rows is."""
    import pyarrow
    from pyarrow import parquet

    def bad(error: Exception) -> ConfigError:
        return ConfigError(
            f"path={path!r}: {file} cannot be read as Parquet ({one_line(error)}); fetch it again, or correct the kind."
        )

    try:
        metadata = parquet.read_metadata(file)
    except (pyarrow.ArrowException, OSError) as error:
        raise bad(error) from error
    sizes = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
    starts = list(itertools.accumulate(sizes, initial=0))

    @functools.lru_cache(GROUPS_KEPT)
    def rows(group: int) -> "pyarrow.Table":
        try:
            with parquet.ParquetFile(file) as opened:
                return opened.read_row_group(group)
        except (pyarrow.ArrowException, OSError) as error:  # a damaged page, which the footer does not show
            raise bad(error) from error

    def read(index: int) -> Mapping[str, Any]:
        group = bisect.bisect_right(starts, index) - 1
        table = rows(group)
        try:
            return row(table, index - starts[group])
        except ValueError as error:
            raise ConfigError(f"path={path!r}: {where(index)} {error}; repair the file.") from error

    def where(index: int) -> str:
        return f"{file}, row {index}"

    return Records(metadata.num_rows, read, where)
