"""The suites that the paper evaluates on: the fields of their public files, and how their files are found."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from grpo_jax.config import Config, ConfigError, QuestionsConfig, SourceConfig, did_you_mean


@dataclass(frozen=True)
class Suite:
    """The fields of a suite's records that hold the question and the answer."""

    prompt_field: str
    answer_field: str
    answer_format: Literal["plain", "boxed", "after_hashes"]


SUITES: Mapping[str, Suite] = {
    "math_500": Suite("problem", "answer", "plain"),  # HuggingFaceH4/MATH-500
    "amc_2023": Suite("question", "answer", "plain"),  # math-ai/amc23
    "minerva": Suite("question", "answer", "plain"),  # math-ai/minervamath
    "aime_2025": Suite("problem", "answer", "plain"),  # math-ai/aime25
    "olympiad_bench": Suite("question", "final_answer", "plain"),  # Hothan/OlympiadBench, OE_TO_maths_en_COMP
}

OWN = "test"  # the name of the configuration's own test problems, as if they were a suite

_KINDS: Mapping[str, str] = {
    ".jsonl": "jsonl",
    ".json": "jsonl",
    ".jsonl.gz": "jsonl",
    ".parquet": "parquet",
}


def find_suites(config: Config, names: Sequence[str], directory: Path) -> dict[str, SourceConfig | None]:
    """Return the sources of the suites with these names, or of all known suites if `names` is empty.

    Args:
      names: keys of `SUITES`, or "test" for `task.test`. If that is None, the task holds out its own test problems.
      directory: contains the files of the suites.

    Raises:
      ConfigError: if one of them cannot be found.
    """
    own = questions_of(config).test
    return {name: own if name == OWN else suite_source(name, directory) for name in names or SUITES}


def questions_of(config: Config) -> QuestionsConfig:
    """Return the task of a configuration. Raises ConfigError if it is not a task of questions, as suites need."""
    if not isinstance(config.task, QuestionsConfig):
        raise ConfigError(f"task.name={config.task.name!r}: suites consist of questions; use the task 'questions'.")
    return config.task


def suite_source(name: str, directory: Path) -> SourceConfig:
    """Return the source of a suite, whose public file is in a directory and has one of the endings of `_KINDS`.

    Raises:
      ConfigError: for an unknown suite, and a directory without its file.
    """
    if name not in SUITES:
        raise ConfigError(f"--suite={name}: unknown; {did_you_mean(name, [*SUITES, OWN])}")
    files = {directory / f"{name}{suffix}": kind for suffix, kind in _KINDS.items()}
    for file, kind in files.items():
        if file.is_file():
            known = SUITES[name]
            return SourceConfig(
                kind=kind,
                path=str(file),
                split="",
                prompt_field=known.prompt_field,
                answer_field=known.answer_field,
                answer_format=known.answer_format,
                limit=0,
            )
    raise ConfigError(
        f"--suite={name}: {directory} has none of {', '.join(file.name for file in files)}; put one there."
    )
