"""HTTP requests whose bodies and answers are JSON: what an answer means, and when to repeat a request."""

import json
from collections.abc import Callable
from http import HTTPStatus
from http.client import HTTPException
from typing import Any, TypeVar

T = TypeVar("T")

LONGEST_WAIT = 60.0  # seconds between two attempts
# In addition to those from 500 on, which mean that the server failed.
REPEATED = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS)


class NoAnswer(Exception):
    """A request failed in a way that may pass: it is worth repeating."""


class Refused(Exception):
    """A server refuses a request. The text is what it said."""

    def __init__(self, status: int, said: str):
        super().__init__(said)
        self.status = status


class Unanswered(Exception):
    """A request failed at every attempt. The text says why the last one failed."""


def values_of(status: int, text: bytes) -> Any:
    """Return the JSON values of an answer, None if it is empty.

    Raises:
      NoAnswer: if the request is worth repeating.
      Refused: if the status is that of another error.
      ValueError: if the answer is not JSON.
    """
    check_status(status, text)
    return json.loads(text) if text else None


def check_status(status: int, text: bytes) -> None:
    """Check the status of an answer.

    Raises:
      NoAnswer: if the request is worth repeating.
      Refused: if the status is that of another error.
    """
    said = f"status {status} ({text[:300].decode(errors='replace')})"
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in REPEATED:
        raise NoAnswer(said)
    if status >= HTTPStatus.MULTIPLE_CHOICES:
        raise Refused(status, said)


def repeated(once: Callable[[], T], retries: int, wait: float, pause: Callable[[float], object]) -> T:
    """Make a request by `once`, again if there is no answer, and return its result.

    Args:
      retries: how many times `once` is called again.
      wait: seconds before the first of these calls; doubled before each further one, up to a minute.
      pause: waits for a number of seconds. If it raises, no further attempt is made.

    Raises:
      Unanswered: if no call got an answer.
    """
    why: Exception | None = None
    for attempt in range(retries + 1):
        if attempt:
            pause(min(wait * 2.0 ** min(attempt - 1, 60), LONGEST_WAIT))
        try:
            return once()
        except (NoAnswer, OSError, HTTPException) as error:
            why = error
    raise Unanswered(f"{type(why).__name__}: {why}") from why
