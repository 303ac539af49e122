"""From the tokens of an answer to what it says: each rule below knows one kind of answers."""

import functools
from collections.abc import Callable
from dataclasses import replace

from grpo_jax.rewards.mathematics import choices, equations, lists, matrices, sets, words
from grpo_jax.rewards.mathematics.answer import BARE, SEQUENCE, Answer, Items, Reader
from grpo_jax.rewards.mathematics.brackets import Tokens, stripped, texts_of
from grpo_jax.rewards.mathematics.formula import Formula, formula
from grpo_jax.rewards.mathematics.notation import OPENING
from grpo_jax.rewards.mathematics.work import TooLargeError, spend

MAX_TOKENS = 1000
MAX_LEVELS = 20  # answers within answers


def read(tokens: Tokens, level: int = 0) -> Answer:
    """Return the answer that tokens say.

    Raises:
      TooLargeError: if it has too many parts, or numbers that are too large.
    """
    if len(tokens) > MAX_TOKENS or level > MAX_LEVELS:
        raise TooLargeError("an answer of too many parts")
    spend(1 + len(tokens))
    tokens = stripped(tokens)
    texts = texts_of(tokens)
    part = functools.partial(read, level=level + 1)
    for rule, signs in RULES:
        if not signs.isdisjoint(texts):
            answer = rule(tokens, part)
            if answer is not None:
                return answer
    return words.text(tokens) or formula(tokens)


def marked(tokens: Tokens, read: Reader) -> Answer | None:
    """Return a gold answer of which the question said what it is, see `asked.py`."""
    if tokens[0].text not in MARKS:
        return None
    inner = read(tokens[1:])
    if isinstance(inner, Formula) and tokens[0].text == "\\number":
        return replace(inner, percent=False)
    if not isinstance(inner, Items):
        return inner
    if tokens[0].text == "\\interval":
        return sets.interval(inner.opening, inner.closing, *inner.items) if len(inner.items) == 2 else inner
    return Items(SEQUENCE, SEQUENCE, inner.items) if inner.opening == BARE else inner


MARKS = frozenset(("\\interval", "\\number", "\\ordered"))

# What an answer may be, in the order in which it is tried, and the signs of which it has at least one.
RULES: tuple[tuple[Callable[[Tokens, Reader], Answer | None], frozenset[str]], ...] = (
    (marked, MARKS),
    (sets.named, sets.NAMES),
    (sets.all_reals, frozenset(("real", "reals", "Real", "Reals"))),
    (choices.choice, choices.SIGNS),
    (equations.conditioned, equations.CONDITIONAL),
    (matrices.matrix, frozenset(("\\begin",))),
    (sets.union, frozenset(("\\cup",))),
    (lists.bare, lists.SEPARATORS),
    (equations.equation, equations.SIGNS),
    (sets.inequality, sets.ORDERED),
    (lists.bracketed, OPENING),
    (lists.ratio, frozenset((":", "to"))),
    (lists.plus_minus, lists.EITHER_SIGN),
)
