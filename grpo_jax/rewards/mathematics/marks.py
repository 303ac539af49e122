r"""Marks before a gold answer, which say how its question means it: \ordered 1, 2, 3. `asked.py` writes them."""

from dataclasses import replace

from grpo_jax.rewards.mathematics import expression, measures
from grpo_jax.rewards.mathematics.answer import (
    BARE,
    SEQUENCE,
    Answer,
    Asked,
    Choice,
    Family,
    General,
    Items,
    Reader,
    Residue,
    Statement,
    listed,
)
from grpo_jax.rewards.mathematics.brackets import Tokens, closing_place, split, texts_of
from grpo_jax.rewards.mathematics.formula import Formula, formula
from grpo_jax.rewards.mathematics.naming import name_of
from grpo_jax.rewards.mathematics.sets import interval

ORDERED, INTERVAL, ASKED, OPTION = "\\ordered", "\\interval", "\\asked", "\\option"
NAMED, MODULO, FAMILY = "\\named", "\\modulo", "\\family"
MARKS = measures.MARKS | {ORDERED, INTERVAL, ASKED, OPTION, NAMED, MODULO, FAMILY}


def marked(tokens: Tokens, read: Reader) -> Answer | None:
    """Return the gold answer that tokens with a mark stand for; None if there is no mark."""
    mark, rest = tokens[0].text, tokens[1:]
    if mark not in MARKS:
        return None
    if mark == OPTION:
        return Choice(rest[0].text, read(rest[1:]) if rest[1:] else None)
    if mark == ASKED:
        quantity, gold = _parted(rest)
        return Asked(formula(quantity), read(gold))
    if mark == NAMED:
        named = (_parted(part) for part in split(rest, (",",))[0])
        return listed(SEQUENCE, [Statement(name_of(texts_of(name)), (read(value),)) for name, value in named])
    if mark in (MODULO, FAMILY):
        end = closing_place(rest)
        said, value = rest[1:end], read(rest[end + 1 :])
        if mark == MODULO:
            return Residue((), value, formula(said), is_least=True)
        return value if isinstance(value, General) else Family(value, _letters(said))
    match read(rest):
        case Formula() as number if mark in measures.MARKS:
            return replace(number, measure=mark)
        case Items(opening, closing, (low, high)) if mark == INTERVAL:
            return interval(opening, closing, low, high)
        case Items(opening, _, items) if mark == ORDERED and opening == BARE:
            return Items(SEQUENCE, SEQUENCE, items)
        case inner:
            return inner


def _letters(tokens: Tokens) -> frozenset[str]:
    return frozenset(expression.SYMBOLS.get(token.text, token.text) for token in tokens)


def _parted(tokens: Tokens) -> tuple[Tokens, Tokens]:
    """Split tokens at the first `=`."""
    place = len(split(tokens, ("=",))[0][0])
    return tokens[:place], tokens[place + 1 :]
