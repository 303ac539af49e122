"""Letters of multiple choice."""

from grpo_jax.rewards.mathematics import units
from grpo_jax.rewards.mathematics.answer import Answer, Choice, Reader, Words
from grpo_jax.rewards.mathematics.brackets import Tokens, texts_of
from grpo_jax.rewards.mathematics.notation import Token

LETTERS = frozenset("ABCDEFGHIJabcdefghij")
NAMING = frozenset(("option", "choice", "answer"))
SIGNS = frozenset((")", ".", ":", *NAMING, *map(str.capitalize, NAMING)))
LISTING = frozenset((",", ";", "and", "or", "&"))  # two letters are not a choice


def choice(tokens: Tokens, read: Reader) -> Answer | None:
    r"""Return the choice in `(A)`, `A.`, `A: 12`, `(A) 12` or `Option A`; None for `(A) or (B)` and `(A) is wrong`."""
    texts = texts_of(tokens)
    if len(tokens) > 1 and texts[0].lower() in NAMING:
        rest = tokens[2:] if texts[1] in (":", "is") else tokens[1:]
        if is_letter(rest):
            return Choice(rest[0].text)
        inner = read(rest)
        return inner if isinstance(inner, Choice) else None
    if len(tokens) > 3 and _is_lettered(tokens):
        letter, rest = texts[1], tokens[3:]
        spaced = rest[0].spaced and rest[0].text not in ("+", "-", "^", "/", "\\cdot")
        if not spaced and rest[0].kind not in ("number", "word") and rest[0].text not in (":", "."):
            return None
    elif len(tokens) > 1 and texts[0] in LETTERS and texts[1] in (")", ".", ":"):
        letter, rest = texts[0], tokens[2:]
        if texts[1] != ")" and not letter.isupper():
            return None
    else:
        return None
    if rest and rest[0].text in (":", "."):
        rest = rest[1:]
    if any(_is_lettered(rest[place:]) for place in range(len(rest) - 2)) or (rest and rest[0].text in LISTING):
        return None
    value = read(rest) if rest else None
    if isinstance(value, Words) and not all(map(_is_option, rest)):
        return None
    return Choice(letter, value)


def is_letter(tokens: Tokens) -> bool:
    """Return whether tokens are the letter of a choice."""
    return len(tokens) == 1 and tokens[0].text in LETTERS


def _is_option(token: Token) -> bool:
    """Return whether a word may belong to the option itself, and not to a sentence about it (a guess)."""
    text = token.text.lower()
    return (
        token.kind in ("word", "symbol", "number") and text not in units.NEVER and not text.endswith(("s", "ed", "n"))
    )


def _is_lettered(tokens: Tokens) -> bool:
    """Return whether tokens begin with the letter of a choice in brackets."""
    opening, letter, closing = texts_of(tokens[:3])
    return opening == "(" and closing == ")" and letter in LETTERS
