"""Equations and chains of them, and what is said of their letters: for all x, k in Z."""

from collections.abc import Sequence

from grpo_jax.rewards.mathematics.answer import Answer, General, Items, Numbers, Reader, Relation, Statement, Words
from grpo_jax.rewards.mathematics.brackets import Tokens, split, texts_of
from grpo_jax.rewards.mathematics.conditions import is_bound, is_condition
from grpo_jax.rewards.mathematics.formula import formula
from grpo_jax.rewards.mathematics.naming import is_name, name_of

SIGNS = frozenset(("=", "\\approx", "\\in", "\\equiv"))
REMAINDERS = frozenset(("\\pmod", "\\bmod", "\\mod", "mod"))
CONDITIONAL = frozenset(("\\in", "\\forall", "for", "where", "integer", "integers", "when", "\\ge", ">"))
SETS = frozenset(("Z", "N", "R", "integer", "integers", "real", "reals"))
REAL = frozenset(("R", "real", "reals"))
NATURAL = frozenset(("N", "+", "positive", "nonnegative", "non", "natural", ">", "\\ge"))
MAX_CONDITION = 20  # tokens


def equation(tokens: Tokens, read: Reader) -> Answer | None:
    """Return what is said of a name, or the relation of two expressions."""
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


def _unrounded(parts: list[Tokens], found: list[str]) -> tuple[list[Tokens], list[str]]:
    """Return a chain without what is rounded in it; that is the answer only if there is no other: x \\approx 3.14."""
    kept = found.index("\\approx") + 1
    if is_name(parts[kept - 1]) or formula(parts[kept - 1]).variables:
        kept += 1
    return parts[:kept], found[: kept - 1]


def conditioned(tokens: Tokens, read: Reader) -> Answer | None:
    r"""Return what holds for all x, or for k \in Z, without its saying so."""
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
        if len(bound) != 1 or SETS.isdisjoint(texts):
            return plain
        of_k = read([token._replace(text="k") if token.text in bound else token for token in kept])
        return General(plain, of_k, _numbers(texts))
    return None


def _numbers(texts: Sequence[str]) -> Numbers:
    """Return which numbers a condition speaks of."""
    if not REAL.isdisjoint(texts):
        return "real"
    return "whole" if NATURAL.isdisjoint(texts) else "natural"
