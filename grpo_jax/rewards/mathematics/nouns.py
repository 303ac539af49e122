"""Quantities by their nouns, and the letters that usually stand for them: radius and r, diameter and d."""

from collections.abc import Sequence

from grpo_jax.rewards.mathematics.units import singular

# Nouns of one line mean the same. A letter may stand for several quantities.
_LETTERS = {
    "radius": "r R", "diameter": "d D", "diagonal": "d D", "distance": "d D s", "difference": "d D",
    "circumference": "C c", "area": "A a S K T", "perimeter": "P p", "volume": "V v", "height altitude": "h H",
    "length": "l L \\ell", "width": "w W b", "side": "a b c s", "hypotenuse": "c h", "base": "b B",
    "center centre": "C O", "slope gradient": "m k a", "intercept": "a b c",
    "mean average": "m \\mu M", "median": "m M", "mode": "m M", "variance": "V", "deviation": "s \\sigma",
    "speed velocity": "v s r V", "time": "t T", "rate": "r", "period": "T P p", "amplitude": "A a",
    "frequency": "f", "sum": "S s", "product": "P p", "quotient": "q Q", "remainder residue": "r R", "ratio": "r k q",
    "price": "p P", "cost": "c C", "probability": "P p", "sine sin": "", "cosine cos": "", "tangent tan": "",
    "divisor gcd hcf gcf": "d g", "multiple lcm": "m l",
    "minimum min least smallest lowest": "", "maximum max greatest largest highest biggest": "",
    "domain": "", "range": "", "real": "", "imaginary": "", "determinant det": "", "trace tr": "", "rank": "",
    "degree": "n", "coefficient": "a b c",
}  # fmt: skip
_OF_NOUN = {noun: line for line in _LETTERS for noun in line.split()}
NOUNS = frozenset(form for noun in _OF_NOUN for form in (noun, noun.capitalize()))
_OF_LETTER = {letter: {line for line, others in _LETTERS.items() if letter in others.split()}
              for letters in _LETTERS.values() for letter in letters.split()}  # fmt: skip


def quantities(texts: Sequence[str]) -> frozenset[str]:
    """Return the quantities that words name, or the function at the beginning, each as all of its nouns."""
    words = [text.lower() for text in (*(text.lstrip("\\") for text in texts[:1]), *texts[1:])]
    found = (_OF_NOUN.get(word) or _OF_NOUN.get(singular(word)) for word in words)
    return frozenset(noun for noun in found if noun)


def quantities_of(name: Sequence[str]) -> frozenset[str]:
    """Return the quantities that a name may be of, by its words or its only letter; |A| is a determinant."""
    if len(name) == 3 and name[0] == name[2] == "|" and name[1].isupper():
        return quantities(("det",))
    letter = _OF_LETTER.get(name[0], set()) if len(name) == 1 else ()
    return quantities(name) or frozenset(letter)
