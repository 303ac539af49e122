r"""The options of a multiple-choice question, as `(A) 34 \qquad (B) 51`, `A. 34` or `a) 34`.

A gold letter gets the value of its option, and a gold value gets the letter. So either one is right, and a letter with
another option's value is wrong.
"""

import re
from dataclasses import dataclass

from grpo_jax.rewards.mathematics.answer import Answer, Choice, unreadable
from grpo_jax.rewards.mathematics.compare import AT_ONCE
from grpo_jax.rewards.mathematics.formula import Formula
from grpo_jax.rewards.mathematics.notation import NotationError, tokenize
from grpo_jax.rewards.mathematics.reading import read
from grpo_jax.rewards.mathematics.work import COMPARING, TooLargeError, limited

MIN_OPTIONS = 3  # two letters may be parts of a question, or names
STYLES = tuple(
    re.compile(rf"(?<![\w\\^]){pattern}(?![\w(])")
    for pattern in (r"\(([A-J])\)", r"([A-J])\)", r"([A-J])[.:]", r"\(([a-j])\)", r"([a-j])\)")
)
_SPACE = r"\s|~|\\[ ,;:!]|\\q?quad(?![a-zA-Z])|\\hspace\s*\{[^{}]*\}"
BEFORE = re.compile(rf"(?:{_SPACE}|[}}:])*+")
BEHIND = re.compile(rf"(?:{_SPACE}|\\\\|[,;.?$*]|\\(?:text|math)(?:bf|rm|it|sf)?\s*\{{|\b(?:and|or)(?=\s*$))+$")
SENTENCE = re.compile(r"\n\s*\n|[.?]\s+(?=[A-Z])")  # the start of the next one
ALPHABETS = "ABCDEFGHIJabcdefghij"
LETTERS = frozenset(ALPHABETS)
MAX_CHARACTERS = 200  # of an option; the rest is ignored
PROSE = re.compile(r"(?=.*[a-z]{2})[A-Za-z][A-Za-z ,'-]*")


@dataclass(frozen=True)
class Option:
    """An option of a question; `value` is "" if it cannot be read."""

    letter: str
    value: str


def chosen(question: str, gold: str) -> Option | None:
    """Return the option that a gold answer names by its letter or value; None unless exactly one fits."""
    options = offered(question)
    answer = _read(gold) if options else None
    if answer is None or (isinstance(answer, Choice) and answer.value is not None):
        return None
    letter = _letter(answer)
    if letter:
        return next((option for option in options if option.letter.casefold() == letter.casefold()), None)
    equal = [option for option in options if option.value and _is_same(answer, option.value)]
    return equal[0] if len(equal) == 1 else None


def offered(question: str) -> list[Option]:
    """Return the options of a question; [] if it is not multiple choice."""
    for style in STYLES:
        places = list(style.finditer(question))
        first = next((place for place in reversed(range(len(places))) if places[place][1] in "Aa"), len(places))
        letters = "".join(place[1] for place in places[first:])
        if len(letters) >= MIN_OPTIONS and ALPHABETS.find(letters) in (0, 10):
            ends = [*(place.start() for place in places[first + 1 :]), len(question)]
            texts = (question[place.end() : end] for place, end in zip(places[first:], ends, strict=True))
            return [Option(letter, _value(text)) for letter, text in zip(letters, texts, strict=True)]
    return []


def _value(text: str) -> str:
    """Return the value of an option, without the separators and the sentence that follow it."""
    text = SENTENCE.split(text[BEFORE.match(text).end() :])[0][:MAX_CHARACTERS]  # type: ignore[union-attr]
    text = BEHIND.sub("", text)
    text = rf"\text{{{text}}}" if PROSE.fullmatch(text) else text
    answer = _read(text) if text else None
    return "" if answer is None or unreadable(answer) else text


def _letter(answer: Answer) -> str:
    if isinstance(answer, Choice):
        return answer.letter
    return answer.tokens[0] if isinstance(answer, Formula) and "".join(answer.tokens) in LETTERS else ""


def _is_same(gold: Answer, value: str) -> bool:
    answer = _read(value)
    if answer is None:
        return False
    try:
        with limited(COMPARING):
            return AT_ONCE.equal(gold, answer) is True
    except (TooLargeError, RecursionError):
        return False


def _read(text: str) -> Answer | None:
    try:
        with limited():
            return read(tokenize(text))
    except (NotationError, TooLargeError, RecursionError):
        return None
