"""Answers in words."""

import re

from grpo_jax.rewards.mathematics.answer import EMPTY_SET, Answer, Choice, Reader, Words
from grpo_jax.rewards.mathematics.brackets import Tokens, texts_of
from grpo_jax.rewards.mathematics.choices import is_letter
from grpo_jax.rewards.mathematics.formula import formula

NO_LIMIT = re.compile(r"(limit )?(does not|doesn ' t) exist|dne")
ANNOUNCING = frozenset(("answer", "Answer", "ANSWER"))
BEFORE_ANSWER = frozenset(("so", "hence", "thus", "therefore", "the", "my", "our", "final", "correct"))
MOST_BEFORE = 4  # words
IS = (("is",), (":",), ("=",))
ARTICLE = re.compile(r"(?:it is )?(?:an?|the) (?=\w{2,})|it is ")  # "an ellipse" is "ellipse"; "a b" is two letters
NONE_AT_ALL = re.compile(
    r"none|(there (is|are) )?(no( \w+)? (solution|root|value|number|integer|such \w+?)s?|none)( exists?)?"
    r"|(the )?empty set"
)


def announced(tokens: Tokens, read: Reader) -> Answer | None:
    """Return the answer after "the answer is"."""
    words = [text.lower() for text in texts_of(tokens[:MOST_BEFORE])]
    place = next(place for place, word in enumerate([*words, "answer"]) if word == "answer")
    verb, rest = texts_of(tokens[place + 1 : place + 2]), tokens[place + 2 :]
    if not rest or verb not in IS or not BEFORE_ANSWER.issuperset(words[:place]):
        return None
    return Choice(rest[0].text) if is_letter(rest) else read(rest)


def text(tokens: Tokens) -> Answer | None:
    """Return words that are not the unit of a number, or a row of capital letters, whose order matters."""
    if len(tokens) > 1 and all(token.kind == "symbol" and token.text.isupper() for token in tokens):
        return Words("".join(texts_of(tokens)).casefold())
    if texts_of(tokens) == ("\\dots",):
        return Words("...")
    if not any(token.kind == "word" for token in tokens):
        return None
    quantity = formula(tokens)
    if quantity.node:
        return quantity
    said = ARTICLE.sub("", " ".join(texts_of(tokens)).casefold())
    if NONE_AT_ALL.fullmatch(said):
        return EMPTY_SET
    return Words("does not exist" if NO_LIMIT.fullmatch(said) else said)
