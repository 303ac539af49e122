"""The verifier of chains of equations that wants the derivation, and not the answer alone."""

from dataclasses import replace

from grpo_jax.rewards import last_value
from grpo_jax.rewards.partial_credit import value
from grpo_jax.rewards.verdict import Attempt, Verdict


def verify(attempt: Attempt, *, modulus: int, lines: int) -> Verdict:
    """Right if the answer is, at least so many lines lead to it (itself included), and each has the gold value.

    A guess of the answer is right in one of `modulus` cases, so it bounds how hard problems can be; a guess of a
    derivation is not.
    """
    verdict = last_value.verify(attempt)
    written = attempt.completion.split("=")
    sound = len(written) >= lines and all(str(value(line, modulus)) == attempt.gold for line in written)
    right = bool(verdict.right) and sound
    return replace(verdict, reward=float(right), right=right)
