"""The verifier of chains of equations: what stands behind the last `=` is the answer."""

from grpo_jax.rewards.verdict import Attempt, Verdict


def verify(attempt: Attempt) -> Verdict:
    """Reward 1 if the chain ends in the gold answer and the model itself ended it, else 0.

    The prompt is such as "8+(8+(4+6))=", the completion such as "8+(8+0)=8+8=6". One that was cut off at the maximum
    length has no answer, and is wrong.
    """
    answer = (attempt.prompt + attempt.completion).rpartition("=")[2] if attempt.stopped else None
    right = answer == attempt.gold
    return Verdict(reward=float(right), answer=answer, right=right)
