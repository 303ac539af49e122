"""Where problems are read: each kind of source is a sequence of records with random access.

| kind | path | split |
|---|---|---|
| jsonl | a file or a pattern: a record a line, or one JSON list | |
| parquet | a file or a pattern | |
| tfds | a prepared builder's name, as in gsm8k or math_dataset/algebra__linear_1d, or its directory | yes |
| huggingface | owner/name, owner/name/subset, owner/name@revision/subset, or a directory with data files | yes |
| arithmetic | one-digit chains, as in "3 terms of +-" | |
| reasoning_gym | a task and its options, as in chain_sum?seed=0&max_digits=1 | |

There are no iterators and no shards here. The order of problems is PromptSource's, and because access is random, a host
reads the records that it indexes and no others, but for the one look at all of them when a source is opened.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

from grpo_jax.config import ConfigError, SourceConfig
from grpo_jax.data.problem import Problem
from grpo_jax.data.sources.arithmetic import open_arithmetic
from grpo_jax.data.sources.huggingface import open_huggingface
from grpo_jax.data.sources.json_lines import open_json_lines
from grpo_jax.data.sources.parquet import open_parquet
from grpo_jax.data.sources.problems import distinct_problems
from grpo_jax.data.sources.reasoning_gym import open_reasoning_gym
from grpo_jax.data.sources.records import Records
from grpo_jax.data.sources.tfds import open_tfds

OPENERS: Mapping[str, Callable[[SourceConfig], Records]] = {
    "jsonl": open_json_lines,
    "parquet": open_parquet,
    "tfds": open_tfds,
    "huggingface": open_huggingface,
    "arithmetic": open_arithmetic,
    "reasoning_gym": open_reasoning_gym,
}
WITH_SPLITS = ("tfds", "huggingface")


def open_records(config: SourceConfig) -> Records:
    """The records of a source, read when they are asked for.

    Raises:
      ConfigError: with a field of the source in front, if there is nothing that can be read.
    """
    if config.kind in WITH_SPLITS and not config.split:
        raise ConfigError(f"split='': kind {config.kind!r} reads one split; name it, as in 'train'.")
    if config.kind not in WITH_SPLITS and config.split:
        raise ConfigError(f"split={config.split!r}: kind {config.kind!r} has no splits; set it to ''.")
    records = OPENERS[config.kind](config)
    if not records:
        raise ConfigError(f"path={config.path!r}: holds no records; name another.")
    return dataclasses.replace(records, length=min(len(records), config.limit or len(records)))


def read_problems(config: SourceConfig, field: str) -> Sequence[Problem]:
    """The problems of a source, each prompt once, in the source's order.

    All records are checked before this returns; the problems are read again when they are asked for.

    Args:
      config: the source.
      field: where the configuration has it, for messages, as in "task.train".

    Raises:
      ConfigError: for a source that cannot be read, and for the first record that is no problem.
    """
    try:
        return distinct_problems(open_records(config), config)
    except ConfigError as error:
        raise ConfigError(f"{field}.{error}") from error


__all__ = ["OPENERS", "open_records", "read_problems"]
