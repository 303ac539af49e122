"""Sources of problems: each kind of source is a sequence of records with random access.

| kind | path | split |
|---|---|---|
| jsonl | a file or a pattern: one record per line, or one JSON list | |
| parquet | a file or a pattern | |
| tfds | a prepared builder's name, as in gsm8k or math_dataset/algebra__linear_1d, or its directory | yes |
| huggingface | owner/name, owner/name/subset, owner/name@revision/subset, or a directory with data files | yes |
| arithmetic | one-digit chains, as in "3 terms of +-" | |
| reasoning_gym | a task and its options, as in chain_sum?seed=0&max_digits=1 | |
| package.module:function | whatever a function of your own reads | if it wants |

There are no iterators and no shards here. PromptSource decides the order of problems. Because access is random, a host
reads only the records that it needs, apart from one pass over all of them when a source is opened.
"""

import dataclasses
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from grpo_jax.config import ConfigError, SourceConfig, blaming, did_you_mean, imported
from grpo_jax.data.problem import Problem
from grpo_jax.data.sources.arithmetic import open_arithmetic
from grpo_jax.data.sources.huggingface import open_huggingface, repository_of
from grpo_jax.data.sources.json_lines import open_json_lines
from grpo_jax.data.sources.parquet import open_parquet
from grpo_jax.data.sources.problems import distinct_problems
from grpo_jax.data.sources.reasoning_gym import open_reasoning_gym
from grpo_jax.data.sources.records import Records
from grpo_jax.data.sources.tfds import open_tfds


@dataclass(frozen=True)
class Kind:
    """A kind of source, and what it needs."""

    opener: Callable[[SourceConfig], Records]
    has_splits: bool = False
    package: str = ""  # that not every installation has; an extra of setup.py with the name of the kind installs it


KINDS: Mapping[str, Kind] = {
    "jsonl": Kind(open_json_lines),
    "parquet": Kind(open_parquet),
    "tfds": Kind(open_tfds, has_splits=True),
    "huggingface": Kind(open_huggingface, has_splits=True, package="datasets"),
    "arithmetic": Kind(open_arithmetic),
    "reasoning_gym": Kind(open_reasoning_gym, package="reasoning_gym"),
}


def open_records(config: SourceConfig) -> Records:
    """Return the records of a source. They are read on access.

    Raises:
      ConfigError: if nothing can be read. It begins with a field of the source.
    """
    records = _open_own(config) if ":" in config.kind else _open(config)
    if not records:
        raise ConfigError(f"path={config.path!r}: holds no records; name another.")
    return dataclasses.replace(records, length=min(len(records), config.limit or len(records)))


def read_problems(config: SourceConfig, field: str) -> Sequence[Problem]:
    """Return the problems of a source, each prompt once, in the source's order.

    All records are checked before this returns. The problems are read again on access.

    Args:
      config: the source.
      field: its name in the configuration, for messages, as in "task.train".

    Raises:
      ConfigError: for a source that cannot be read, and for the first record that is not a problem.
    """
    try:
        return distinct_problems(open_records(config), config)
    except ConfigError as error:
        raise ConfigError(f"{field}.{error}") from error


def hub_repository(config: SourceConfig) -> str:
    """Return the repository of the Hugging Face Hub that a source reads, as owner/name; "" if it reads none."""
    kind = KINDS.get(config.kind)
    return repository_of(config) if kind and kind.opener is open_huggingface else ""


def _open(config: SourceConfig) -> Records:
    if config.kind not in KINDS:
        raise ConfigError(
            f"kind={config.kind!r}: unknown; {did_you_mean(config.kind, list(KINDS))} "
            "A function of your own is named package.module:function."
        )
    kind = KINDS[config.kind]
    if kind.has_splits and not config.split:
        raise ConfigError(f"split='': kind {config.kind!r} reads one split; name it, as in 'train'.")
    if config.split and not kind.has_splits:
        raise ConfigError(f"split={config.split!r}: kind {config.kind!r} has no splits; set it to ''.")
    if kind.package and importlib.util.find_spec(kind.package) is None:
        raise ConfigError(
            f"kind={config.kind!r}: needs the package {kind.package}, which is not installed; "
            f"pip install -e '.[{config.kind}]'."
        )
    return kind.opener(config)


def _open_own(config: SourceConfig) -> Records:
    """Return the records of `package.module:function`, a function of a `SourceConfig` that returns a sequence."""
    function = imported("kind", config.kind)
    kind, path = f"kind={config.kind!r}", f"path={config.path!r}"
    or_else = "or make the function return a list of records"
    with blaming(f"{kind}: cannot read {path}", f"correct the path, {or_else}"):
        found = function(config)
        length = len(found)
        if isinstance(found, Mapping) or not hasattr(found, "__getitem__"):
            raise TypeError(f"it returned a {type(found).__name__}")

    def read(index: int) -> Mapping[str, Any]:
        with blaming(f"{kind}: cannot read record {index} of {path}", f"correct that, {or_else}"):
            record: Mapping[str, Any] = found[index]
        return record

    where = found.where if isinstance(found, Records) else lambda index: f"{config.path}, {index}"
    return Records(length, read, where)


__all__ = ["KINDS", "Records", "hub_repository", "open_records", "read_problems"]
