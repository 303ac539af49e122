r"""What a question says of its gold answer, written before it: \ordered 1, 2, 3. `asked.py` writes it."""

from dataclasses import replace

from grpo_jax.rewards.mathematics import measures
from grpo_jax.rewards.mathematics.answer import BARE, SEQUENCE, Answer, Asked, Choice, Items, Reader
from grpo_jax.rewards.mathematics.brackets import Tokens, split
from grpo_jax.rewards.mathematics.formula import Formula, formula
from grpo_jax.rewards.mathematics.sets import interval

ORDERED, INTERVAL, ASKED, OPTION = "\\ordered", "\\interval", "\\asked", "\\option"
MARKS = measures.MARKS | {ORDERED, INTERVAL, ASKED, OPTION}


def marked(tokens: Tokens, read: Reader) -> Answer | None:
    """Return a gold answer as it is marked; None if it is not."""
    mark, rest = tokens[0].text, tokens[1:]
    if mark not in MARKS:
        return None
    if mark == OPTION:
        return Choice(rest[0].text, read(rest[1:]) if rest[1:] else None)
    if mark == ASKED:
        (quantity, gold), _ = split(rest, ("=",))
        return Asked(formula(quantity), read(gold))
    match read(rest):
        case Formula() as number if mark in measures.MARKS:
            return replace(number, measure=mark)
        case Items(opening, closing, (low, high)) if mark == INTERVAL:
            return interval(opening, closing, low, high)
        case Items(opening, _, items) if mark == ORDERED and opening == BARE:
            return Items(SEQUENCE, SEQUENCE, items)
        case inner:
            return inner
