"""Several rewards as one."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from grpo_jax.rewards.verdict import Attempt, Equating, Verdict


class Term(NamedTuple):
    """One reward of a sum."""

    name: str
    weight: float
    reward: Equating


class WeightedSum:
    """The sum of weight x reward, scored if all terms are. The first term that judges answers decides what is right."""

    def __init__(self, terms: Sequence[Term]):
        self._terms = terms

    @property
    def unscored(self) -> Counter[str]:
        """The counts by term and reason, as in "mathematics.timed_out"."""
        return Counter(
            {f"{term.name}.{reason}": n for term in self._terms for reason, n in term.reward.unscored.items()}
        )

    def judge(self, attempts: Sequence[Attempt]) -> list[Verdict]:
        by_term = [term.reward.judge(attempts) for term in self._terms]
        return [self._sum(verdicts) for verdicts in zip(*by_term, strict=True)]

    def same(self, prompt: str, answer: str, others: Sequence[str]) -> list[bool]:
        """Return whether the first term finds each of the others the same as this answer."""
        return self._terms[0].reward.same(prompt, answer, others)

    def warm(self) -> None:
        for term in self._terms:
            term.reward.warm()

    def close(self) -> None:
        for term in self._terms:
            term.reward.close()

    def _sum(self, verdicts: Sequence[Verdict]) -> Verdict:
        scored = all(verdict.scored for verdict in verdicts)
        total = sum(term.weight * verdict.reward for term, verdict in zip(self._terms, verdicts, strict=True))
        return Verdict(
            reward=total if scored else 0.0,
            answer=next((verdict.answer for verdict in verdicts if verdict.answer is not None), None),
            scored=scored,
            right=next((verdict.right for verdict in verdicts if verdict.right is not None), None) if scored else None,
            terms={
                term.name: verdict.reward for term, verdict in zip(self._terms, verdicts, strict=True) if verdict.scored
            },
        )
