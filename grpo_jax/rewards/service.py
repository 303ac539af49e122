"""A reward that a service computes: a process, here or elsewhere, that answers HTTP requests about completions."""

import json
import logging
import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass, field
from http.client import HTTPConnection, HTTPSConnection
from typing import Any
from urllib.parse import urlsplit

from grpo_jax.json_requests import Refused, Unanswered, repeated, values_of
from grpo_jax.rewards.extraction import extract
from grpo_jax.rewards.verdict import UNSCORED, Attempt, Unscorable, Verdict, same_text

logger = logging.getLogger(__name__)

CONNECTIONS = {"http": HTTPConnection, "https": HTTPSConnection}

LONGEST = 1e6  # seconds; sockets cannot wait for a month

REASONS = {Unanswered: "no_answer", Refused: "refused"}  # why attempts are unscored; else "unusable_answer"


def attempts_as_json(attempts: Sequence[Attempt]) -> Any:
    """Return the default request: {"attempts": [{"prompt": ..., "gold": ..., "completion": ..., ...}, ...]}."""
    return {"attempts": [asdict(attempt) for attempt in attempts]}


def rewards_in_json(answer: Any) -> Sequence[float | None]:
    """Return the rewards in the default answer, {"rewards": [1.0, 0.0, null, ...]}; null is no verdict."""
    found: Sequence[float | None] = answer["rewards"]
    return found


@dataclass(frozen=True)
class Service:
    """A service that returns a reward for each attempt. A configuration names it like a reward function.

    A request that gets no answer is repeated. If it is refused, or fails too often, its attempts stay unscored.
    """

    url: str
    write: Callable[[Sequence[Attempt]], Any] = attempts_as_json  # attempts -> the JSON values of a request
    read: Callable[[Any], Sequence[float | None]] = rewards_in_json  # the JSON values of an answer -> rewards
    headers: Mapping[str, str] = field(default_factory=dict)  # such as Authorization
    batch: int = 16  # attempts of a request
    at_once: int = 4  # requests
    seconds: float = 60.0  # without a byte from the service, after which a request has failed
    retries: int = 3
    wait: float = 1.0  # seconds before the first retry; doubles up to a minute
    right_from: float | None = 1.0  # the least reward of a right completion; None: rewards do not tell what is right

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in CONNECTIONS or not parts.hostname:
            raise ValueError(f"url={self.url!r}: must begin with http:// or https:// and a host")
        _ = parts.port  # raises ValueError if it is not a port
        if not 0 < self.seconds <= LONGEST:
            raise ValueError(f"seconds={self.seconds}: must be above 0 and at most {LONGEST:g}")
        for name, least in (("batch", 1), ("at_once", 1), ("retries", 0), ("wait", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name}={getattr(self, name)}: must be at least {least}")

    def rewards(self, attempts: Sequence[Attempt]) -> Sequence[float | None]:
        """Return the service's rewards for these attempts, from one request.

        Raises:
          Unanswered, Refused, ValueError: if it does not answer, refuses, or returns no reward for one of them.
        """
        body = json.dumps(self.write(attempts))
        found = self.read(repeated(lambda: self._once(body), self.retries, self.wait, time.sleep))
        if len(found) != len(attempts):
            raise ValueError(f"it has {len(found)} rewards for {len(attempts)} attempts")
        return [None if reward is None else float(reward) for reward in found]

    def _once(self, body: str) -> Any:
        parts = urlsplit(self.url)
        assert parts.hostname is not None  # by __post_init__
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        with closing(CONNECTIONS[parts.scheme](parts.hostname, parts.port, timeout=self.seconds)) as connection:
            connection.request("POST", path, body, {"Content-Type": "application/json", **self.headers})
            with connection.getresponse() as response:
                return values_of(response.status, response.read())


class Served:
    """The `Reward` of a service. `Service.right_from` says which completions are right."""

    def __init__(self, name: str, service: Service, answer_pattern: str):
        """Make the reward; `name` is for the log, and `answer_pattern` finds the answers for majority votes."""
        self._name, self._service, self._answer_pattern = name, service, answer_pattern
        self._lock = threading.Lock()
        self._told: set[str] = set()
        self.unscored: Counter[str] = Counter()

    def judge(self, attempts: Sequence[Attempt]) -> list[Verdict]:
        """Return one verdict each. Requests run in threads of this call, so there is nothing to start or to end."""
        size = self._service.batch
        batches = [attempts[first : first + size] for first in range(0, len(attempts), size)]
        with ThreadPoolExecutor(self._service.at_once, "reward") as threads:
            found = [one for part in threads.map(self._ask, batches) for one in part]
        return [self._verdict(attempt, one) for attempt, one in zip(attempts, found, strict=True)]

    def _verdict(self, attempt: Attempt, reward: float | str) -> Verdict:
        """Return the verdict on an attempt, from its reward or from the reason why it has none."""
        try:
            if isinstance(reward, str):
                raise Unscorable(reward)
            answer = extract(attempt.completion, self._answer_pattern)
        except Unscorable as unscorable:
            with self._lock:
                self.unscored[str(unscorable)] += 1
            return UNSCORED
        return Verdict(reward, answer, right=self._is_right(reward))

    def _is_right(self, reward: float) -> bool | None:
        least = self._service.right_from
        return None if least is None else reward >= least

    def _ask(self, attempts: Sequence[Attempt]) -> list[float | str]:
        """Return the reward of each attempt, or the reason why it has none."""
        try:
            return [
                "no_verdict" if reward is None else reward if math.isfinite(reward) else "not_finite"
                for reward in self._service.rewards(attempts)
            ]
        except Exception as error:  # of the user's `write` and `read`, too
            reason = next((name for kind, name in REASONS.items() if isinstance(error, kind)), "unusable_answer")
            self._tell(reason, error)
            return [reason] * len(attempts)

    def _tell(self, reason: str, error: Exception) -> None:
        with self._lock:
            told = reason in self._told
            self._told.add(reason)
        if not told:
            logger.warning(
                "the reward %s leaves completions unscored (%s: %s)", self._name, type(error).__name__, error
            )

    def same(self, prompt: str, answer: str, others: Sequence[str]) -> list[bool]:
        return [same_text(answer, other) for other in others]

    def warm(self) -> None:
        """Do nothing: there is nothing to start."""

    def close(self) -> None:
        """Do nothing: there is nothing to end."""
