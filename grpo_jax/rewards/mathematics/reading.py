"""Read an answer from its tokens. Each rule below knows one kind of answers."""

import functools
from collections.abc import Callable

from grpo_jax.rewards.mathematics import (
    choices,
    compounds,
    equations,
    lists,
    marks,
    matrices,
    moments,
    numerals,
    sentences,
    sets,
    words,
)
from grpo_jax.rewards.mathematics.answer import Answer, Reader
from grpo_jax.rewards.mathematics.brackets import Tokens, stripped, texts_of
from grpo_jax.rewards.mathematics.formula import formula
from grpo_jax.rewards.mathematics.notation import OPENING
from grpo_jax.rewards.mathematics.work import TooLargeError, spend

MAX_TOKENS = 1000
MAX_LEVELS = 20  # answers within answers


def read(tokens: Tokens, level: int = 0) -> Answer:
    """Return the answer that tokens spell.

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


# The rules in the order in which they are tried, each with the tokens of which an answer for it has at least one.
RULES: tuple[tuple[Callable[[Tokens, Reader], Answer | None], frozenset[str]], ...] = (
    (marks.marked, marks.MARKS),
    (sets.named, sets.NAMES),
    (sets.all_reals, frozenset(("real", "reals", "Real", "Reals"))),
    (words.announced, words.ANNOUNCING),
    (choices.choice, choices.SIGNS),
    (moments.moment, moments.SIGNS),
    (numerals.numeral, numerals.SIGNS),
    (equations.conditioned, equations.CONDITIONAL),
    (matrices.matrix, frozenset(("\\begin",))),
    (sets.union, frozenset(("\\cup", "\\cap"))),
    (compounds.compound, compounds.SIGNS),
    (equations.congruence, equations.REMAINDERS),
    (lists.bare, lists.SEPARATORS),
    (equations.equation, equations.SIGNS),
    (sets.inequality, sets.ORDERED),
    (lists.bracketed, OPENING),
    (lists.combination, OPENING | {"\\begin"}),
    (sentences.sentence, sentences.SIGNS),
    (lists.ratio, frozenset((":", "to"))),
    (lists.plus_minus, lists.EITHER_SIGN),
)
