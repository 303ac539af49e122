"""A problem, its identity, and the split it belongs to: both are functions of its prompt's text."""

import dataclasses
import enum
import hashlib
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from grpo_jax.config import ConfigError

logger = logging.getLogger(__name__)


class Split(enum.Enum):
    """Disjoint by construction: a prompt's hash decides. The values are shares of all prompts, in sixteenths."""

    TEST = 1
    VALIDATION = 2
    WARM_START = 5
    TRAIN = 8


@dataclass(frozen=True)
class Problem:
    """What is asked, and the answer that counts."""

    prompt: str
    answer: str  # the gold one
    word: int = 0  # which 32 bits of the key are the id: the first ones, unless `distinct` has found them taken

    def __post_init__(self) -> None:
        for name, value in (("prompt", self.prompt), ("answer", self.answer)):
            if not isinstance(value, str):  # of a user's own task; sources have decided what becomes of each type
                raise ConfigError(
                    f"task: the {name} of a problem is {value!r}, of the type {type(value).__name__}; make it a text "
                    "in the form that answers are to have."
                )

    @property
    def key(self) -> bytes:
        """A hash of the prompt. Prompts that differ by white space only are the same problem."""
        return hashlib.sha256(" ".join(self.prompt.split()).encode()).digest()

    @property
    def id(self) -> int:
        """32 bits of the key. The first ones are the same in every data set, order and run."""
        return _word(self.key, self.word)

    @property
    def split(self) -> Split:
        sixteenth = self.key[4] % 16
        for split in Split:
            if sixteenth < split.value:
                return split
            sixteenth -= split.value
        raise AssertionError("the shares of the splits add up to 16")

    def identified(self, id: int) -> "Problem":
        """Return the problem with an id that it was given before. Raises ValueError if it cannot have had it."""
        for word in range(WORDS):
            if _word(self.key, word) == id:
                return dataclasses.replace(self, word=word)
        raise ValueError(f"{id} is no id of the prompt {self.prompt[:80]!r}")


WORDS = hashlib.sha256().digest_size // 4


def _word(key: bytes, word: int) -> int:
    return int.from_bytes(key[4 * word : 4 * word + 4], "big")


def distinct(problems: Sequence[Problem]) -> Sequence[Problem]:
    """Return the same problems in the same order, no two prompts of which have one id.

    A prompt's random keys and its record of successes go by its id. Among 77,000 prompts two share their first 32 bits
    with even odds. Then the one with the smallest key keeps these bits, and each other one takes the next 32 bits of
    its key that nobody has. So ids do not depend on the order, and prompts without such a twin keep theirs.

    A prompt that comes twice is one prompt, and keeps one id: it has one record, and counts twice. That is logged as a
    warning, since two of its groups in one step are the same completions.
    """
    by_key = {problem.key: problem for problem in problems}
    if len(by_key) < len(problems):
        twice = next(key for key, number in Counter(problem.key for problem in problems).items() if number > 1)
        logger.warning(
            "%d of %d problems have a prompt that has come before, such as %r; each counts as often as it comes",
            len(problems) - len(by_key),
            len(problems),
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
