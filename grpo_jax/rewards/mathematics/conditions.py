"""Recognise tokens that only say which values a letter has: for all x, k in Z, n at least 1."""

from collections.abc import Sequence

from grpo_jax.rewards.mathematics.brackets import Tokens, texts_of


def is_condition(tokens: Tokens) -> bool:
    """Return whether tokens only say which values a letter has."""
    if tokens[0].text == "(" and tokens[-1].text == ")":
        tokens = tokens[1:-1]
    if tokens and tokens[0].text == ",":
        tokens = tokens[1:]
    texts = texts_of(tokens)
    if texts[:1] and texts[0] in INTRODUCED and _is_counter([text for text in texts[1:] if text not in EVERY]):
        return True
    if len(texts) < 2 or not all(token.text in CONDITION or token.kind == "symbol" for token in tokens):
        return False
    letter = tokens[0].kind == "symbol" and texts[1] in ("\\in", "is", "an", "integer", "any")
    return (letter or texts[0] in INTRODUCED) and not QUANTIFIED.isdisjoint(texts)


def is_bound(kept: Tokens, tokens: Tokens) -> bool:
    r"""Return whether tokens give the first value of a counter in the tokens before them: 2^n, n \\ge 1."""
    texts = texts_of(tokens)
    if not ((texts[0] == "(" and texts[-1] == ")") or texts[0] == ","):
        return False
    inside = texts[1:-1] if texts[0] == "(" else texts[1:]
    return _is_counter(inside) and inside[0] in texts_of(kept) and BOUNDS.isdisjoint(texts_of(kept))


def _is_counter(texts: Sequence[str]) -> bool:
    return len(texts) == 3 and texts[0] in "nkm" and tuple(texts[1:]) in ((">", "0"), *AT_LEAST)


BOUNDS = frozenset(("<", ">", "\\le", "\\ge", "\\ne"))
EVERY = frozenset(("all", "any", "every", "each", "integer", "integers"))
AT_LEAST = tuple(("\\ge", number) for number in "0123")
INTRODUCED = frozenset(("for", "where", "with", "when", "\\forall"))
QUANTIFIED = frozenset(
    ("integer", "integers", "all", "any", "every", "some", "constant", "arbitrary", "\\forall", "\\in")
)
_CONDITION = (
    "for where with when all any every each some arbitrary is an a are the integer integers real reals number "
    "numbers positive negative nonnegative non natural whole constant values value of \\forall \\in \\mathbb { } + "
    "* ^ , > \\ge 0 _"
)
CONDITION = frozenset(_CONDITION.split())
