"""What a verifier says of one completion."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Verdict:
    """`scored` is False where no verdict was possible; such a completion has no reward, which is not a reward of 0."""

    reward: float
    answer: str | None  # what was read out of the completion, for majority votes and for people
    scored: bool = True


UNSCORED = Verdict(reward=0.0, answer=None, scored=False)
