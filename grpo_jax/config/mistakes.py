"""All mistakes of a configuration, so that a person need not meet them one after another, and likely remedies."""

import difflib
from collections.abc import Sequence
from types import TracebackType

from grpo_jax.config.schema import ConfigError


class Mistakes:
    """Keeps the sentences of what fails in its `with` blocks, until all of them are raised together.

    mistakes = Mistakes()
    for check in checks:
        with mistakes:
            check()
    mistakes.tell()
    """

    def __init__(self) -> None:
        self._sentences: dict[str, str] = {}  # by what they are about: the text before their first colon

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if not isinstance(error, ConfigError):
            return False
        for sentence in error.args:
            self._sentences.setdefault(sentence.partition(": ")[0], sentence)
        return True

    def tell(self) -> None:
        """Raises one ConfigError with a sentence about each field that anything is wrong with, if there is any."""
        if self._sentences:
            raise ConfigError(*self._sentences.values())


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """Return the end of a sentence about an unknown name: the nearest known one, or all of them."""
    near = difflib.get_close_matches(word, known, n=1)
    return f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}."
