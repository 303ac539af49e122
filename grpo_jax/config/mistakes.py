"""Collect all mistakes of a configuration, so that users see them at once."""

from types import TracebackType

from grpo_jax.config.schema import ConfigError


class Mistakes:
    """Collects the sentences of the ConfigErrors in its `with` blocks, and raises them together.

    mistakes = Mistakes()
    for check in checks:
        with mistakes:
            check()
    mistakes.tell()
    """

    def __init__(self) -> None:
        self._sentences: dict[str, str] = {}  # by subject, which is the text before the first colon

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
        """Raise one ConfigError with a sentence for each wrong field, if there is any."""
        if self._sentences:
            raise ConfigError(*self._sentences.values())
