"""The verifier of chains of equations: what stands behind the last `=` is the answer."""

from grpo_jax.rewards.verdict import Verdict


def verify(prompt: str, completion: str, gold: str, stopped: bool) -> Verdict:
    """Reward 1 if the chain ends in the gold answer and the model itself ended it, else 0.

    Args:
      prompt: such as "8+(8+(4+6))=".
      completion: such as "8+(8+0)=8+8=6", without the stop token.
      gold: the right value, as text.
      stopped: whether the completion ended with a stop token; one cut off at the maximum length is wrong.
    """
    answer = (prompt + completion).rpartition("=")[2] if stopped else None
    return Verdict(reward=float(answer == gold), answer=answer)
