"""What there is to say of an answer: right, wrong, or why nothing can be said."""

import re
from fractions import Fraction
from typing import Literal

from grpo_jax.rewards.mathematics import answer as answers
from grpo_jax.rewards.mathematics.compare import Comparison
from grpo_jax.rewards.mathematics.notation import NotationError, tokenize
from grpo_jax.rewards.mathematics.work import TooLargeError, limited

Outcome = Literal[
    "right",
    "wrong",
    # The rest are reasons for no verdict.
    "unparsable_gold",  # nobody could be right
    "too_long",  # more characters than are looked at
    "too_large",  # nested too deep, numbers too large, or too many of them: 9^{9^9}
    "timed_out",  # a worker gave up in time
    "killed",  # a worker did not, or died
    "memory",  # a worker's memory was not enough
    "error",  # a worker's parser failed in a way of its own
]

PLAIN = re.compile(r"-?[0-9]{1,40}(\.[0-9]{1,40})?")


def judge(gold: str, answer: str, comparison: Comparison) -> Outcome | None:
    """The outcome for an answer; None where this comparison cannot tell.

    The same text as the gold answer is right whatever it says; otherwise a gold answer that cannot be read makes no
    answer wrong. An answer that cannot be read is wrong.
    """
    if PLAIN.fullmatch(gold) and PLAIN.fullmatch(answer):  # most pairs
        return "right" if Fraction(gold) == Fraction(answer) else "wrong"
    try:
        gold_tokens = tokenize(gold)
    except NotationError:
        return "right" if gold.strip() == answer.strip() else "unparsable_gold"
    try:
        tokens = tokenize(answer)
    except NotationError:
        return "wrong"
    if [token.text for token in gold_tokens] == [token.text for token in tokens]:
        return "right" if tokens else "unparsable_gold"
    try:
        with limited():
            right = answers.read(gold_tokens)
            if answers.unreadable(right):
                return "unparsable_gold"
            equal = comparison.equal(right, answers.read(tokens))
    except (TooLargeError, RecursionError):
        return "too_large"
    return None if equal is None else "right" if equal else "wrong"
