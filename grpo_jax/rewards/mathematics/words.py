"""Answers in words, and numbers that are spelt out."""

import re
from fractions import Fraction

from grpo_jax.rewards.mathematics.answer import EMPTY_SET, Answer, Choice, Reader, Words
from grpo_jax.rewards.mathematics.brackets import Tokens, texts_of
from grpo_jax.rewards.mathematics.choices import is_letter
from grpo_jax.rewards.mathematics.expression import Node
from grpo_jax.rewards.mathematics.formula import Formula, formula

ANNOUNCING = frozenset(("answer", "Answer", "ANSWER"))
BEFORE_ANSWER = frozenset(("so", "hence", "thus", "therefore", "the", "my", "our", "final", "correct"))
MOST_BEFORE = 4  # words
IS = (("is",), (":",), ("=",))
ARTICLE = re.compile(r"(?:it is )?(?:an?|the) (?=\w{2,})|it is ")  # an ellipse is "ellipse"; "a b" are two letters
NONE_AT_ALL = re.compile(r"no( real)? solutions?( exists?)?|(the )?empty set|there (is|are) no( real)? solutions?")

_ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
)
ONES = {word: number for number, word in enumerate(_ONES.split())}
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
TENS = {word: 10 * number for number, word in enumerate(_TENS.split(), 2)}


def announced(tokens: Tokens, read: Reader) -> Answer | None:
    """Return what "the answer is" announces."""
    words = [text.lower() for text in texts_of(tokens[:MOST_BEFORE])]
    place = next(place for place, word in enumerate([*words, "answer"]) if word == "answer")
    verb, rest = texts_of(tokens[place + 1 : place + 2]), tokens[place + 2 :]
    if not rest or verb not in IS or not BEFORE_ANSWER.issuperset(words[:place]):
        return None
    return Choice(rest[0].text) if is_letter(rest) else read(rest)


def text(tokens: Tokens) -> Answer | None:
    """Return a text with words, unless they are the unit of a number; or capital letters, whose order matters."""
    if len(tokens) > 1 and all(token.kind == "symbol" and token.text.isupper() for token in tokens):
        return Words("".join(texts_of(tokens)).casefold())
    if texts_of(tokens) == ("\\dots",):
        return Words("...")
    if not any(token.kind == "word" for token in tokens):
        return None
    if spelt := spelt_number(tokens):
        return spelt
    quantity = formula(tokens)
    if quantity.node:
        return quantity
    said = ARTICLE.sub("", " ".join(texts_of(tokens)).casefold())
    return EMPTY_SET if NONE_AT_ALL.fullmatch(said) else Words(said)


def spelt_number(tokens: Tokens) -> Formula | None:
    """Return a whole number below 100 in words (twelve, twenty-one), or one behind a word for its sign (minus 7)."""
    words = [token.text.casefold() for token in tokens if token.text != "-"]
    if len(tokens) > 1 and words[0] in ("minus", "negative"):
        positive = spelt_number(tokens[1:]) or formula(tokens[1:])
        if positive.value is None or positive.value <= 0 or positive.unit is not None:
            return None
        return _number(tokens, -positive.value)
    if len(words) == 2 and words[0] in TENS and 0 < ONES.get(words[1], 0) < 10:
        return _number(tokens, Fraction(TENS[words[0]] + ONES[words[1]]))
    if len(words) == len(tokens) == 1 and words[0] in ONES | TENS:
        return _number(tokens, Fraction((ONES | TENS)[words[0]]))
    return None


def _number(tokens: Tokens, value: Fraction) -> Formula:
    return Formula(texts_of(tokens), Node("number", value=value), value)
