"""A problem, its identity, and the split it belongs to: both are functions of its prompt's text."""

import enum
import hashlib
from dataclasses import dataclass

from grpo_jax.config import ConfigError


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
        """32 bits of the key: the same in every data set, order and run."""
        return int.from_bytes(self.key[:4], "big")

    @property
    def split(self) -> Split:
        sixteenth = self.key[4] % 16
        for split in Split:
            if sixteenth < split.value:
                return split
            sixteenth -= split.value
        raise AssertionError("the shares of the splits add up to 16")
