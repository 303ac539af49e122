"""Find the process that the others wait for, step by step."""

from grpo_jax.processes import wait_by_process
from grpo_jax.runs.lines import Measured


class Slowest:
    """Compares how long the processes wait for each other: the slowest waits the least."""

    def __init__(self) -> None:
        self._waited = wait_by_process()

    def since_last(self) -> dict[str, float]:
        """Return which process was slowest since the last call, and by how much; {} if there is only one process.

        All processes must call this at the same places.
        """
        before, self._waited = self._waited, wait_by_process()
        if not before:
            return {}
        own = [now - then for now, then in zip(self._waited, before, strict=True)]
        least = min(own)
        return {Measured.SLOWEST: own.index(least), Measured.SLOWEST_SECONDS: round(max(own) - least, 4)}
