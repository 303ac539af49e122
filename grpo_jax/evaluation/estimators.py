"""Estimates from n samples of each problem: pass@k, best@k, majority@n, and intervals over problems."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
from jaxtyping import Float, Int

from grpo_jax.config import counted
from grpo_jax.randomness import HostStream, generator

Same: TypeAlias = Callable[[str, Sequence[str]], Sequence[bool]]


def pass_at_k(correct: Int[np.ndarray, " problems"], n: int, k: int) -> Float[np.ndarray, " problems"]:
    """Return 1 - C(n-c, k) / C(n, k), the unbiased estimate of P(at least one of k is right), for each problem.

    The formula is from Codex (arXiv 2107.03374). If the k are drawn with replacement, the result is lower: see
    `best_of_k_with_replacement`.

    Args:
      correct: c, how many of the n samples of each problem are right.

    Raises:
      ValueError: unless 1 <= k <= n.
    """
    _check_draws(n, k)
    # C(n-c, k) / C(n, k) is the product of the k factors (n-c-i)/(n-i). One of them is 0 if k > n-c.
    failures = np.maximum(n - correct[:, None] - np.arange(k), 0) / (n - np.arange(k))
    return 1.0 - failures.prod(axis=1)


def best_of_k_with_replacement(correct: Int[np.ndarray, " problems"], n: int, k: int) -> Float[np.ndarray, " problems"]:
    """Return 1 - (1 - c/n)^k, the chance that one of k draws with replacement is right, for each problem.

    verl estimates this number by resampling and reports it as best@k, so it serves comparisons with such figures. For
    k > 1 it is lower than pass@k, unless all samples are right or none is. Arguments and errors are those of
    `pass_at_k`.
    """
    _check_draws(n, k)
    return 1.0 - (1.0 - correct / n) ** k


def _check_draws(n: int, k: int) -> None:
    if not 1 <= k <= n:
        raise ValueError(f"k={k}: must be between 1 and the {counted(n, 'sample')} of a problem")


def majority_correct(answers: Sequence[str | None], correct: Sequence[bool], gold: str, same: Same) -> float:
    """Return maj@n of one problem: 1 if its most frequent answer is right, else 0; in a tie, the share of right ones.

    Equivalent answers count as one. Right answers are compared with the gold answer first; then all are compared with
    the most frequent remaining one, and so on. This takes at most n(n+1)/2 comparisons, and none if one text has the
    majority of votes.

    Args:
      answers: of each sample. None is no answer and casts no vote.
      correct: whether each is right. A text that is right in one sample is right in all.
      gold: the right answer.
      same: returns whether each of several answers is equivalent to its first argument.
    """
    votes = Counter(answer for answer in answers if answer is not None)
    right = {answer for answer, is_right in zip(answers, correct, strict=True) if is_right} & votes.keys()
    if not right:
        return 0.0
    favourite, count = votes.most_common(1)[0]
    if 2 * count > votes.total():
        return float(favourite in right)
    ranked = votes.most_common()  # ties in the order of sampling
    sizes_right = _sizes([vote for vote in ranked if vote[0] in right], same, gold)
    sizes_wrong = _sizes([vote for vote in ranked if vote[0] not in right], same)
    most = max(sizes_right + sizes_wrong)
    winners = sizes_right.count(most)
    return winners / (winners + sizes_wrong.count(most))


def _sizes(votes: Sequence[tuple[str, int]], same: Same, first: str | None = None) -> list[int]:
    """Return the votes of each class of equivalent answers, beginning with the class of the first."""
    sizes: list[int] = []
    while votes:
        head = votes[0][0] if first is None else first
        joins = [
            text == head or equal
            for (text, _), equal in zip(votes, same(head, [text for text, _ in votes]), strict=True)
        ]
        sizes.append(sum(count for (_, count), joined in zip(votes, joins, strict=True) if joined))
        votes = [vote for vote, joined in zip(votes, joins, strict=True) if not joined]
        first = None
    return [size for size in sizes if size]


def bootstrap_interval(
    values: Float[np.ndarray, " problems"], resamples: int, seed: int, level: float = 0.95
) -> tuple[float, float]:
    """Return a percentile interval for the mean over problems, by resampling problems with replacement.

    It shows how much the mean varies between samples of problems from the same source, not between training runs.
    """
    rng = generator(HostStream.INTERVALS, seed)
    # The mean of a resample depends only on how often each distinct value is drawn. There are few, so draw the counts.
    distinct, counts = np.unique(values, return_counts=True)
    drawn = rng.multinomial(len(values), counts / len(values), size=resamples)
    means = drawn @ distinct / len(values)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
