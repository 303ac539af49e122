"""Quantities by their nouns, and the letters that usually stand for them: radius and r, diameter and d."""

from collections.abc import Sequence

from grpo_jax.rewards.mathematics.units import singular

# Nouns in one key mean the same. A letter may stand for several quantities, and any letter for a quantity without
# letters; a length may be the length of anything.
_LETTERS = {
    "radius": "r R", "diameter": "d D", "diagonal": "d D", "distance": "d D s", "difference": "d D",
    "area": "A a S K T", "perimeter circumference": "P p C c", "volume": "V v", "height altitude": "h H",
    "length": "l L \\ell", "width": "w W b", "side": "a b c s", "hypotenuse": "c h", "base": "b B",
    "center centre": "C O", "slope gradient": "m k a", "intercept": "a b c", "mean average": "m \\mu M A a",
    "median": "m M", "mode": "m M", "variance": "V", "deviation": "s \\sigma", "speed velocity": "v s r V S",
    "time": "t T", "rate": "r", "period": "T P p", "amplitude": "A a", "frequency": "f", "sum": "S s T t",
    "product": "P p", "quotient": "q Q", "remainder residue": "r R", "ratio": "r k q", "price": "p P T",
    "cost": "c C T", "probability": "P p", "sine sin": "", "cosine cos": "", "tangent tan": "",
    "divisor gcd hcf gcf": "d g", "multiple lcm": "m l", "minimum min least smallest lowest": "",
    "maximum max greatest largest highest biggest": "", "domain": "", "range": "", "real": "", "imaginary": "",
    "determinant det": "", "trace tr": "", "rank": "", "degree": "n", "coefficient": "a b c",
}  # fmt: skip
_OF_NOUN = {noun: line for line in _LETTERS for noun in line.split()}
NOUNS = frozenset(form for noun in _OF_NOUN for form in (noun, noun.capitalize()))
_TAKEN = frozenset(letter for line, letters in _LETTERS.items() if line != "length" for letter in letters.split())


def quantities(texts: Sequence[str]) -> frozenset[str]:
    """Return the quantities that words name, or the function that they begin with, each as all of its nouns."""
    words = [text.lower() for text in (*(text.lstrip("\\") for text in texts[:1]), *texts[1:])]
    found = (_OF_NOUN.get(word) or _OF_NOUN.get(singular(word)) for word in words)
    return frozenset(noun for noun in found if noun)


def is_of_another(asked: Sequence[str], name: Sequence[str]) -> bool:
    """Return whether a name stands for another quantity than the nouns of the quantity asked for."""
    ours, theirs = quantities(asked), _of_words(name)
    if ours and theirs:
        return ours.isdisjoint(theirs)
    letters = {letter for noun in ours for letter in _LETTERS[noun].split()}
    return bool(letters) and len(name) == 1 and name[0] in _TAKEN - letters


def may_be_of(name: Sequence[str], other: Sequence[str]) -> bool:
    """Return whether two names, at least one of them a noun, may stand for the same quantity."""
    ours, theirs = _of_words(name), _of_words(other)
    if not any(text.isalpha() and len(text) > 1 for text in (*name, *other)):
        return False
    if ours and theirs:
        return not ours.isdisjoint(theirs)
    return any(len(one) == 1 and one[0] in _LETTERS[noun].split() for noun in ours | theirs for one in (name, other))


def _of_words(name: Sequence[str]) -> frozenset[str]:
    """Return the quantities that a name contains as words; |A| is a determinant."""
    if len(name) == 3 and name[0] == name[2] == "|" and name[1].isupper():
        name = ("det",)
    return quantities(name)
