"""Find and split tokens at the level outside of all brackets."""

from collections.abc import Container, Sequence
from typing import TypeAlias

from grpo_jax.rewards.mathematics.notation import CLOSING, OPENING, Token

Tokens: TypeAlias = Sequence[Token]


def texts_of(tokens: Tokens) -> tuple[str, ...]:
    """Return the texts of the tokens."""
    return tuple(token.text for token in tokens)


def depth_of(token: Token) -> int:
    """Return 1 for a token that opens a bracket, -1 for one that closes one, 0 for others."""
    if token.text in OPENING or token.text in ("{", "\\begin"):
        return 1
    return -(token.text in CLOSING or token.text in ("}", "\\end"))


def closing_place(tokens: Tokens) -> int:
    """Return the place of the bracket that closes the first one; -1 if none does."""
    depth = 0
    for place, token in enumerate(tokens):
        depth += depth_of(token)
        if depth == 0:
            return place
    return -1


def split(tokens: Tokens, separators: Container[str]) -> tuple[list[Tokens], list[str]]:
    """Return the parts of tokens between separators outside of all brackets, and the separators."""
    parts: list[list[Token]] = [[]]
    found: list[str] = []
    depth = 0
    for token in tokens:
        depth += depth_of(token)
        if depth == 0 and token.text in separators and depth_of(token) == 0:
            found.append(token.text)
            parts.append([])
        else:
            parts[-1].append(token)
    return list(parts), found


def stripped(tokens: Tokens) -> Tokens:
    """Return tokens without the end of a sentence, and without braces around all of them."""
    while tokens and tokens[-1].text in (".", ",", ";", "\\\\"):
        tokens = tokens[:-1]
    while tokens and tokens[0].text == "{" and closing_place(tokens) == len(tokens) - 1:
        tokens = tokens[1:-1]
    return tokens
