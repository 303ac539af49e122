"""Answers in the form of a sentence: Anna is 16 years old, the mean: 5, radius 4."""

from grpo_jax.rewards.mathematics import units
from grpo_jax.rewards.mathematics.answer import Answer, Reader, Statement, Words
from grpo_jax.rewards.mathematics.brackets import Tokens, texts_of
from grpo_jax.rewards.mathematics.nouns import NOUNS, quantities

VERBS = frozenset(("is", "are", "was", "were", "equals", "has", "have", "takes", "costs", ":"))
SIGNS = VERBS | NOUNS
MAX_SUBJECT = 8  # words
OF_NOUN = frozenset(("the", "The", "value", "of"))


def sentence(tokens: Tokens, read: Reader) -> Answer | None:
    """Return the statement that a sentence makes; None if it has no subject, or is a negation."""
    texts = texts_of(tokens)
    place = next((place for place, text in enumerate(texts) if text in VERBS), 0)
    if not place:  # radius 4
        place = next((place for place, token in enumerate(tokens) if token.kind not in ("word", "symbol")), 0)
        if not place or not all(quantities([text]) or text in OF_NOUN for text in texts[:place]):
            return None
        subject, value = tokens[:place], tokens[place:]
    else:
        subject, value = tokens[:place], tokens[place + 1 :]
    spelt = all(token.kind in ("word", "symbol") for token in subject) and any(
        token.kind == "word" for token in subject
    )
    denied = any(_changes(text.lower()) for text in texts[:place])
    if not value or not spelt or len(subject) > MAX_SUBJECT or denied:
        return None
    said = read(value)
    return None if isinstance(said, Words) else Statement(texts_of(subject), (said,))


def _changes(word: str) -> bool:
    """Return whether a word negates a statement, or makes it one about another quantity: half of her age."""
    computed = units.scale(word) is not None or word in units.POWERS
    return computed or (word in units.NEVER and not quantities([word]))
