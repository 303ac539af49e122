"""A term that tells completions apart which are equally good, for runs that only try whether everything works."""

import zlib

from grpo_jax.rewards.verdict import Attempt


def lot(attempt: Attempt) -> float:
    """A number from 0 to below 1 that the completion's text decides."""
    return zlib.crc32(attempt.completion.encode()) / 2**32
