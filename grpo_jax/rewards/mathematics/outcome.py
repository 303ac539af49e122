"""The outcome of judging an answer: right, wrong, or the reason why there is no verdict."""

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
    # The others are reasons for no verdict. If the answer caused one, `reward.py` counts the answer as wrong. So a
    # completion is only left unscored by a reason that lies in the gold answer, or by one of the last three.
    "unparsable_gold",  # nobody could be right
    "too_long",  # more than `max_characters`
    "too_large",  # nested too deep, numbers too large, or too many of them: 9^{9^9}
    "timed_out",  # a worker gave up after its seconds of CPU time
    "memory",  # a worker's memory was not enough
    "crashed",  # a worker's interpreter broke down
    "error",  # a parser raised something unexpected
    "killed",  # workers were ended from outside
    "stuck",  # workers neither computed nor answered
    "slow_pattern",  # `answer_pattern` took too long to find an answer
]

PLAIN = re.compile(r"-?[0-9]{1,40}(\.[0-9]{1,40})?")
NOTHING = Formula(("0",), Node("number"), Fraction(0))


def outcome_by(gold: str, answer: str | None, equality: Equality) -> Outcome | None:
    """Return the outcome for an answer; None where this equality cannot tell.

    An answer with the text of the gold answer is right, even if neither can be read. Otherwise there is no verdict if
    the gold answer cannot be read, and an answer that cannot be read is wrong. Reading the one, reading the other and
    comparing them each have a budget of work.

    Args:
      answer: None stands for an answer that is too long to be read. It is wrong, provided that the gold answer can be
        read and evaluated.
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
    elif isinstance(answer, Asked):  # its quantity is a name, which has no value
        yield from formulas(answer.value)
    elif isinstance(answer, tuple):
        for part in answer:
            yield from formulas(part)
    elif is_dataclass(answer):
        for field in fields(answer):
            yield from formulas(getattr(answer, field.name))
