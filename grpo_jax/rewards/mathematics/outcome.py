"""What there is to say of an answer: right, wrong, or why nothing can be said."""

import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from fractions import Fraction
from typing import Literal

from grpo_jax.rewards.mathematics import reading
from grpo_jax.rewards.mathematics.answer import Answer, Asked, unreadable
from grpo_jax.rewards.mathematics.compare import Equality
from grpo_jax.rewards.mathematics.expression import Node
from grpo_jax.rewards.mathematics.formula import Formula
from grpo_jax.rewards.mathematics.notation import NotationError, tokenize
from grpo_jax.rewards.mathematics.work import COMPARING, TooLargeError, limited

Outcome = Literal[
    "right",
    "wrong",
    # The rest are reasons for no verdict. What the answer brings about is no such reason (`reward.py`), so of a verdict
    # they are about the gold answer, but for the last two.
    "unparsable_gold",  # nobody could be right
    "too_long",  # more characters than are looked at
    "too_large",  # nested too deep, numbers too large, or too many of them: 9^{9^9}
    "timed_out",  # a worker gave up after its seconds of CPU time
    "memory",  # a worker's memory was not enough
    "crashed",  # a worker's interpreter broke down
    "error",  # a worker's parser failed in a way of its own
    "killed",  # workers were ended from outside
    "stuck",  # workers neither computed nor answered
]

PLAIN = re.compile(r"-?[0-9]{1,40}(\.[0-9]{1,40})?")
NOTHING = Formula(("0",), Node("number"), Fraction(0))


def outcome_by(gold: str, answer: str | None, equality: Equality) -> Outcome | None:
    """Return the outcome for an answer; None where this equality cannot tell.

    The same text as the gold answer is right whatever it says; otherwise a gold answer that cannot be read makes no
    answer wrong. An answer that cannot be read is wrong. Reading
    each and comparing both have budgets of work of their own.

    Args:
      answer: None is one that is not looked at. It is wrong, if the gold answer can be read and evaluated at all.
    """
    if answer is not None and PLAIN.fullmatch(gold) and PLAIN.fullmatch(answer):  # most pairs
        return "right" if Fraction(gold) == Fraction(answer) else "wrong"
    try:
        gold_tokens = tokenize(gold)
    except NotationError:
        return "right" if answer is not None and gold.strip() == answer.strip() else "unparsable_gold"
    try:
        tokens = None if answer is None else tokenize(answer)
    except NotationError:
        tokens = None
    if tokens is not None and [token.text for token in gold_tokens] == [token.text for token in tokens]:
        return "right" if tokens else "unparsable_gold"
    try:
        with limited():
            right = reading.read(gold_tokens)
        if unreadable(right):
            return "unparsable_gold"
        if tokens is None:
            known = all(equality.equal(part, NOTHING) is not None for part in formulas(right))
            return "wrong" if known else None
        with limited():
            given = reading.read(tokens)
        with limited(COMPARING):
            equal = equality.equal(right, given)
    except (TooLargeError, RecursionError):
        return "too_large"
    return None if equal is None else "right" if equal else "wrong"


def formulas(answer: "Answer | object") -> Iterator[Formula]:
    """Yield the formulas that an answer is made of."""
    if isinstance(answer, Formula):
        yield answer
    elif isinstance(answer, Asked):  # what it is called has no value
        yield from formulas(answer.value)
    elif isinstance(answer, tuple):
        for part in answer:
            yield from formulas(part)
    elif is_dataclass(answer):
        for field in fields(answer):
            yield from formulas(getattr(answer, field.name))
