"""Turn the records of a source into problems."""

import logging
import re
from array import array
from collections.abc import Callable, Mapping, Sequence

from grpo_jax.config import ConfigError, SourceConfig, agreeing, counted
from grpo_jax.data.problem import Problem
from grpo_jax.data.sources.fields import pick
from grpo_jax.data.sources.golds import REPAIR, text, text_of_answer
from grpo_jax.data.sources.records import RandomAccess, Records
from grpo_jax.rewards import last_boxed

logger = logging.getLogger(__name__)

_DIGIT_GROUPS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")


def after_hashes(text: str) -> str | None:
    """Return the text after the last ####, as GSM8K ends its solutions, without commas between groups of digits."""
    _, hashes, answer = text.rpartition("####")
    return _DIGIT_GROUPS.sub("", answer) if hashes else None


ANSWER_FORMATS: Mapping[str, Callable[[str], str | None]] = {
    "plain": str,
    "boxed": last_boxed,
    "after_hashes": after_hashes,
}


def distinct_problems(records: Records, config: SourceConfig) -> Sequence[Problem]:
    """Return the problems of all records, each prompt once, in the order of the records. They are read on access.

    Every record is checked here, so a bad one is reported before anything is computed with the others. If records
    share a prompt apart from white space, the first is kept, and a warning says how many others there are.

    Raises:
      ConfigError: for a record without a prompt or an answer.
    """
    kept = array("q")
    firsts: dict[bytes, tuple[int, int, str]] = {}  # the index of a record, a hash of its exact prompt, and its answer
    contradictions = 0
    # Records that are left out, each with the one that it repeats: exactly, or but for white space.
    repeated: list[tuple[int, int]] = []
    spaced: list[tuple[int, int]] = []
    for index in range(len(records)):
        problem = _problem(records, index, config)
        if problem.key not in firsts:
            kept.append(index)
            firsts[problem.key] = index, hash(problem.prompt), problem.answer
            continue
        first, exact, answer = firsts[problem.key]
        contradictions += answer != problem.answer
        (repeated if exact == hash(problem.prompt) else spaced).append((index, first))
    if contradictions:
        logger.warning(
            "%s: %s %s the prompt of an earlier one and another answer; the first counts.",
            config.path,
            counted(contradictions, "record"),
            agreeing(contradictions, "has", "have"),
        )
    for pairs, how in ((repeated, ""), (spaced, " but for white space")):
        if pairs:
            logger.warning(
                "%s: %d of %s %s the prompt of an earlier one%s and %s left out, such as %s, which repeats %s.",
                config.path,
                len(pairs),
                counted(len(records), "record"),
                agreeing(len(pairs), "repeats", "repeat"),
                how,
                agreeing(len(pairs), "is", "are"),
                *map(records.where, pairs[0]),
            )
    return RandomAccess(len(kept), lambda index: _problem(records, kept[index], config))


def _problem(records: Records, index: int, config: SourceConfig) -> Problem:
    record = records[index]
    name, field = "prompt_field", config.prompt_field
    try:
        prompt = text(pick(record, field))
        name, field = "answer_field", config.answer_field
        written = text_of_answer(pick(record, field))
        answer = ANSWER_FORMATS[config.answer_format](written)
        if answer is None or not answer.strip():
            raise ValueError(f"has no answer in the format {config.answer_format!r} there; {REPAIR}")
    except ValueError as error:
        raise ConfigError(f"{name}={field!r}: {records.where(index)} {error}.") from error
    return Problem(prompt, answer.strip())
