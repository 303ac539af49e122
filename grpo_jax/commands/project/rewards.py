"""The rewards of this project. The configuration names them as rewards:FUNCTION, each with its weight."""

import re

from grpo_jax.rewards import Attempt

NUMBER = re.compile(r"-?\d+")


def last_number(attempt: Attempt) -> float:
    """Return 1 if the model has ended its completion and the last number in it is the gold answer, else 0."""
    return float(attempt.stopped and NUMBER.findall(attempt.completion)[-1:] == [attempt.gold])
