"""Equations and chains of them, with conditions on their letters: for all x, k in Z."""

from collections.abc import Sequence
from fractions import Fraction

from grpo_jax.rewards.mathematics.answer import (
    Answer,
    General,
    Items,
    Numbers,
    Reader,
    Relation,
    Residue,
    Statement,
    Words,
)
from grpo_jax.rewards.mathematics.brackets import Tokens, split, stripped, texts_of
from grpo_jax.rewards.mathematics.conditions import is_bound, is_condition
from grpo_jax.rewards.mathematics.formula import Formula, formula
from grpo_jax.rewards.mathematics.lists import EITHER_SIGN, plus_minus
from grpo_jax.rewards.mathematics.naming import is_name, name_of

SIGNS = frozenset(("=", "\\approx", "\\in", "\\equiv"))
REMAINDERS = frozenset(("\\pmod", "\\bmod", "\\mod", "mod", "modulo"))
CONGRUENT = frozenset(("\\equiv", "="))
CONDITIONAL = frozenset(("\\in", "\\forall", "for", "where", "integer", "integers", "when", "\\ge", ">"))
SETS = frozenset(("Z", "N", "R", "integer", "integers", "real", "reals"))
REAL = frozenset(("R", "real", "reals"))
SORTS: dict[Numbers, frozenset[str]] = {  # words for each sort of numbers; the first sort with a match counts
    "nonnegative": frozenset(("nonnegative", "non")),
    "positive": frozenset(("+", "positive", ">")),
    "natural": frozenset(("N", "natural")),
}
MAX_CONDITION = 20  # tokens


def equation(tokens: Tokens, read: Reader) -> Answer | None:
    """Return the statement about a name, or the relation of two expressions."""
    parts, found = split(tokens, SIGNS)
    if found and not parts[0] and found[0] in ("=", "\\approx"):
        parts, found = parts[1:], found[1:]
        if not found:
            return read(parts[0])
    if not found or not all(parts):
        return None
    if "\\equiv" in found and not REMAINDERS.isdisjoint(texts_of(tokens)):
        texts = ["mod" if text in REMAINDERS else text for text in texts_of(tokens)]
        return Words(" ".join(text for text in texts if text not in ("{", "}", "(", ")")))
    if "\\approx" in found:
        parts, found = _unrounded(parts, found)
        if not found:
            return read(parts[0])
    if not is_name(parts[0]) and not EITHER_SIGN.isdisjoint(texts_of(tokens)):
        return plus_minus(tokens, read)
    if is_name(parts[0]):
        name, values = name_of(texts_of(parts[0])), parts[1:]
    elif len(parts) == 2 and is_name(parts[1]):
        name, values = name_of(texts_of(parts[1])), parts[:1]
    elif len(parts) == 2 and any(token.kind == "symbol" and token.text not in "ei" for token in tokens):
        return Relation("=", formula(parts[0]), formula(parts[1]), read(parts[1]))
    else:
        name, values = (), parts
    relation = None
    if len(parts) == 2 and found in (["="], ["\\equiv"]) and not any(token.kind == "word" for token in tokens):
        relation = Relation("=", formula(parts[0]), formula(parts[1]))
    said = [read(value) for value in values]
    if found == ["\\in"] and isinstance(said[0], Items) and said[0].opening == r"\{" and len(said[0].items) == 1:
        said = [*said[0].items]
    return Statement(name, tuple(said), relation)


def congruence(tokens: Tokens, read: Reader) -> Answer | None:
    r"""Return a remainder, of a name or of a known number: x \equiv 5 \pmod 7, 3^5 \bmod 7 = 5, 5 (mod 7)."""
    places = [place for place, token in enumerate(tokens) if token.text in REMAINDERS]
    if len(places) != 1:
        return None
    head, (tail, *behind) = tokens[: places[0]], split(tokens[places[0] + 1 :], CONGRUENT)[0]
    if head and head[-1].text == "(" and tail and tail[-1].text == ")":
        head, tail = head[:-1], tail[:-1]
    links = [*split(head, CONGRUENT)[0], *behind]
    modulus = formula(stripped(tail))
    if len(links) > 2 or not all(links) or modulus.node is None:
        return None
    value = read(links[-1])
    if len(links) == 1 or is_name(links[0]):
        return Residue(name_of(texts_of(links[0])) if len(links) > 1 else (), value, modulus)
    match formula(links[0]).value, value, modulus.value:
        case Fraction() as whole, Formula(value=Fraction() as left), Fraction() as divisor if divisor:
            return Residue((), value, modulus) if (whole - left) % divisor == 0 else None
    return None


def _unrounded(parts: list[Tokens], found: list[str]) -> tuple[list[Tokens], list[str]]:
    """Return a chain without its rounded values, unless there is no other: x \\approx 3.14."""
    kept = found.index("\\approx") + 1
    if is_name(parts[kept - 1]) or formula(parts[kept - 1]).variables:
        kept += 1
    return parts[:kept], found[: kept - 1]


def conditioned(tokens: Tokens, read: Reader) -> Answer | None:
    r"""Return an answer without the condition that follows it: for all x, k \in Z."""
    for place in range(max(1, len(tokens) - MAX_CONDITION), len(tokens)):
        kept, said = tokens[:place], tokens[place:]
        stated = is_condition(said) and kept[-1].text not in ("for", "all", "not", "no")
        if not (stated or is_bound(kept, said)):
            continue
        bound = {token.text for token in said if token.kind == "symbol" and token.text not in "ZNRQ"}
        while kept and kept[-1].text in (",", ";", ":"):
            kept = kept[:-1]
        if not kept:
            return None
        plain = read(kept)
        texts = texts_of(said)
        if len(bound) != 1 or (SETS.isdisjoint(texts) and not is_bound(kept, said)):
            return plain
        of_k = read([token._replace(text="k") if token.text in bound else token for token in kept])
        return General(plain, of_k, _numbers(texts))
    return None


def _numbers(texts: Sequence[str]) -> Numbers:
    """Return the sort of numbers that a condition names."""
    if "\\ge" in texts:
        return "positive" if "1" in texts else "nonnegative"
    if not REAL.isdisjoint(texts):
        return "real"
    return next((numbers for numbers, words in SORTS.items() if not words.isdisjoint(texts)), "whole")
