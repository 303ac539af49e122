"""Rewards that look at one completion at a time, in this process."""

import logging
import math
import threading
from collections import Counter
from collections.abc import Callable, Sequence

from grpo_jax.rewards.verdict import UNSCORED, Attempt, Unscorable, Verdict, same_text

logger = logging.getLogger(__name__)


class PerAttempt:
    """A `Reward` from a function of one attempt. If it raises, the attempt stays unscored and training continues."""

    def __init__(self, name: str, function: Callable[[Attempt], Verdict], same: Callable[[str, str], bool] = same_text):
        """Wrap a function; `name` is for the log, and `same` says which answers count as one in a majority vote."""
        self._name = name
        self._function = function
        self._same = same
        self._lock = threading.Lock()
        self._told = False
        self.unscored: Counter[str] = Counter()

    def judge(self, attempts: Sequence[Attempt]) -> list[Verdict]:
        return [self._judge(attempt) for attempt in attempts]

    def _judge(self, attempt: Attempt) -> Verdict:
        try:
            verdict = self._function(attempt)
            if math.isfinite(verdict.reward):
                return verdict
            reason = "not_finite"
        except Unscorable as unscorable:
            reason = str(unscorable)
        except (Exception, SystemExit) as error:  # of a user's function
            reason = type(error).__name__
            with self._lock:
                told, self._told = self._told, True
            if not told:
                logger.warning("the reward %s fails and leaves completions unscored:", self._name, exc_info=True)
        with self._lock:
            self.unscored[reason] += 1
        return UNSCORED

    def same(self, prompt: str, answer: str, others: Sequence[str]) -> list[bool]:
        return [self._same(answer, other) for other in others]

    def warm(self) -> None:
        """Do nothing: there is nothing to start."""

    def close(self) -> None:
        """Do nothing: there is nothing to end."""
