"""Numbers that are spelt out: twenty-one, two hundred and five, three dozen, five eighths, minus 7."""

from collections.abc import Sequence
from fractions import Fraction

from grpo_jax.rewards.mathematics import units
from grpo_jax.rewards.mathematics.answer import Answer, Reader
from grpo_jax.rewards.mathematics.brackets import Tokens, texts_of
from grpo_jax.rewards.mathematics.expression import Node
from grpo_jax.rewards.mathematics.formula import Formula, formula
from grpo_jax.rewards.mathematics.units import PARTS, singular

_ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
)
ONES = {word: number for number, word in enumerate(_ONES.split())}
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
TENS = {word: 10 * number for number, word in enumerate(_TENS.split(), 2)}
MULTIPLES = {
    "billion": 10**9,
    "million": 10**6,
    "thousand": 1000,
    "hundred": 100,
    "gross": 144,
    "score": 20,
    "dozen": 12,
}
NEGATIVE = frozenset(("minus", "negative"))
_WORDS = (*ONES, *TENS, *NEGATIVE, "a", "dozen", "half")
SIGNS = frozenset((*_WORDS, *map(str.capitalize, _WORDS)))
MAX_WORDS = 12


def numeral(tokens: Tokens, read: Reader) -> Answer | None:
    """Return the number that tokens spell, with the unit after it if there is one; None if they are not a number."""
    words = [text.casefold() for text in texts_of(tokens) if text != "-"]
    if len(tokens) > MAX_WORDS or tokens[0].kind != "word" or words == ["a"]:
        return None
    unit = None
    if words[0] in NEGATIVE:
        positive = numeral(tokens[1:], read) or formula(tokens[1:])
        if not isinstance(positive, Formula) or not positive.value or positive.value < 0 or positive.unit is not None:
            return None
        value: Fraction | None = -positive.value
    elif all(token.kind == "word" or token.text == "-" for token in tokens):
        value = _fraction(words)
    else:
        return None
    if value is None and len(words) > 1:
        unit = units.read(tokens[-1:])
        value = _fraction(words[:-1]) if unit is not None and unit.sure and unit.kind and words[0] != "a" else None
    return None if value is None else Formula(texts_of(tokens), Node("number", value=value), value, unit)


def _fraction(words: Sequence[str]) -> Fraction | None:
    """Return the value of a fraction, a mixed number or a whole number in words; None if they are not a number."""
    parts = PARTS.get(singular(words[-1])) if len(words) > 1 else None
    if parts is None:
        return _whole(words)
    if (words[-1] == singular(words[-1])) != (words[-2] in ("one", "a")):
        return None  # "three quarter" and "one quarters" are not numbers
    place = words.index("and") + 1 if "and" in words[:-2] else 0
    whole = _whole(words[: place - 1]) if place else Fraction(0)
    top = _whole(words[place:-1])
    return None if whole is None or top is None or (place and top >= parts) else whole + top / parts


def _whole(words: Sequence[str]) -> Fraction | None:
    """Return the whole number that words spell, as in two hundred and five: the largest multiple splits them."""
    for name, size in MULTIPLES.items():
        if name in words:
            place = words.index(name)
            after = words[place + 1 :]
            after_and = after[1:] if after[:1] == ["and"] else after
            many, rest = _whole(words[:place]), _whole(after_and) if after else Fraction(0)
            return None if many is None or rest is None or rest >= size or not 0 < many < 1000 else many * size + rest
    if len(words) == 2 and words[0] in TENS and 0 < ONES.get(words[1], 0) < 10:
        return Fraction(TENS[words[0]] + ONES[words[1]])
    if list(words) == ["a"]:
        return Fraction(1)
    found = (ONES | TENS).get(words[0]) if len(words) == 1 else None
    return None if found is None else Fraction(found)
