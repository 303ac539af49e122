"""Which of several processes the others wait for, step by step."""

from grpo_jax.processes import by_all, waited
from grpo_jax.runs.ending import TrainingError
from grpo_jax.runs.lines import Measured


class Slowest:
    """Compares how long the processes wait for each other: the slowest waits the least."""

    def __init__(self) -> None:
        self._waited = waited()

    def since_last(self) -> dict[str, float]:
        """Return metrics of the time since the last call; none if there is a single process.

        All processes must call this at the same places.
        """
        own, self._waited = waited() - self._waited, waited()
        everywhere = by_all(lambda: own, TrainingError)
        if len(everywhere) == 1:
            return {}
        least = min(everywhere)
        return {Measured.SLOWEST: everywhere.index(least), Measured.SLOWEST_SECONDS: round(max(everywhere) - least, 4)}
