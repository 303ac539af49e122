"""Problems. The id of a problem, and the split it belongs to, are functions of its prompt's text."""

import dataclasses
import enum
import hashlib
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from grpo_jax.config import ConfigError, agreeing, counted

logger = logging.getLogger(__name__)


class Split(enum.Enum):
    """The splits, disjoint because a prompt's hash decides. The values are shares of all prompts, in sixteenths."""

    TEST = 1
    VALIDATION = 2
    WARM_START = 5
    TRAIN = 8


@dataclass(frozen=True)
class Problem:
    """A question with its answer."""

    prompt: str
    answer: str  # the gold answer
    word: int = 0  # which 32 bits of the key are the id: the first ones, unless `distinct` finds them taken

    def __post_init__(self) -> None:
        for name, value in (("prompt", self.prompt), ("answer", self.answer)):
            if not isinstance(value, str):  # from a user's own task; sources convert each type to text
                raise ConfigError(
                    f"task: the {name} of a problem is {value!r}, of the type {type(value).__name__}; make it a text "
                    "in the form of an answer."
                )

    @property
    def key(self) -> bytes:
        """A hash of the prompt. Prompts that differ only in white space are the same problem."""
        return _key(self.prompt)

    @property
    def id(self) -> int:
        """32 bits of the key. They do not depend on the data set, the order or the run."""
        return _word(self.key, self.word)

    @property
    def split(self) -> Split:
        """The split to which the problem's prompt assigns it."""
        return split_of(self.prompt)

    def identified(self, id: int) -> "Problem":
        """Return the problem with an id that it had in a run. Raises ValueError if the id cannot be its own."""
        for word in range(WORDS):
            if _word(self.key, word) == id:
                return dataclasses.replace(self, word=word)
        raise ValueError(f"{id} is not an id of the prompt {self.prompt[:80]!r}")


SIXTEENTHS = [split for split in Split for _ in range(split.value)]


def split_of(prompt: str) -> Split:
    """Return the split to which a prompt is assigned, with sixteenths as `Split` says."""
    return SIXTEENTHS[_key(prompt)[4] % len(SIXTEENTHS)]


def _key(prompt: str) -> bytes:
    return hashlib.sha256(" ".join(prompt.split()).encode()).digest()


WORDS = hashlib.sha256().digest_size // 4


def _word(key: bytes, word: int) -> int:
    return int.from_bytes(key[4 * word : 4 * word + 4], "big")


def distinct(problems: Sequence[Problem]) -> Sequence[Problem]:
    """Return the same problems in the same order, with different ids for different prompts.

    The id of a prompt selects its random keys and its record of successes. Among 77,000 prompts, the probability that
    two share their first 32 bits is one half. Then the one with the smallest key keeps these bits, and each of the
    others takes the next 32 bits of its key that are free. So ids do not depend on the order, and all other prompts
    keep theirs.

    A prompt that occurs twice has one id and one record, and counts twice. This is logged as a warning, since two of
    its groups in one step would have the same completions.
    """
    by_key = {problem.key: problem for problem in problems}
    if len(by_key) < len(problems):
        twice = next(key for key, number in Counter(problem.key for problem in problems).items() if number > 1)
        repeated = len(problems) - len(by_key)
        logger.warning(
            "%d of %s %s an earlier prompt, such as %r; each counts as often as it occurs",
            repeated,
            counted(len(problems), "problem"),
            agreeing(repeated, "repeats", "repeat"),
            by_key[twice].prompt[:80],
        )
    taken = {problem.id for problem in problems}
    if len(taken) == len(by_key):
        return problems
    words: dict[bytes, int] = {}
    first: set[int] = set()
    for key in sorted(by_key):
        words[key] = 0
        if _word(key, 0) in first:
            words[key] = next(word for word in range(1, WORDS) if _word(key, word) not in taken)
        first.add(_word(key, 0))
        taken.add(_word(key, words[key]))
    return [dataclasses.replace(problem, word=words[problem.key]) for problem in problems]
