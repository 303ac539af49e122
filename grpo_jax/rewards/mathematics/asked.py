r"""What a question says of its gold answer: whether 1,2,3 is in order, (1,2) a point, 100,200 two numbers, 5 metres.

The gold answer's text is marked accordingly, so that whoever compares it needs no question: \ordered 1,2,3 is a
sequence, \interval (1,2) is no point, 100, 200 no number, 5 \text{ metres} is not 5 km, and \number 5 is not 5 %.
"""

import itertools
import re
from collections.abc import Iterator, Sequence

from grpo_jax.rewards.mathematics import units
from grpo_jax.rewards.mathematics.notation import NotationError, tokenize

ORDERED = re.compile(
    r"\b(in|the) (increasing|decreasing|ascending|descending|numerical|alphabetical|chronological|that|given) order"
    r"|\bin order\b|\border of (size|magnitude)|\bfrom (the )?(\w+(est|most)|least|first)\b"
    r"|\b(arrange|order|rank|sort)\b[^.?]*\bfrom\b[^.?]*\bto\b"
    r"|\brespectively\b|\bsequence\b|\b(first|next|last) (\w+ )?(terms|numbers|elements)\b|\bterms of\b"
    r"|\bcoordinates\b|\border(ed)? (pair|triple|tuple|list|quadruple)\b",
    re.IGNORECASE,
)
SEVERAL = re.compile(
    r"\bcommas?\b|\ball\b[^.?]*\b(values|solutions|numbers|integers|roots|primes|pairs|answers)\b|\bsolutions\b"
    r"|\broots\b|\bwhat are\b|\btwo (numbers|values|integers)\b|\blist\b",
    re.IGNORECASE,
)
POINT = re.compile(
    r"\bpoints?\b|\bordered\b|\bcoordinates?\b|\bvertex\b|\bvector|\bcent(er|re)\b|\bfocus\b|\bintersect|\bmidpoint\b"
    r"|\bpairs?\b|\(\s*[a-z]\s*,\s*[a-z]\s*\)",
    re.IGNORECASE,
)
INTERVAL = re.compile(
    r"\bintervals?\b|\binequalit|\bdomain\b|\brange\b|\bvalues of\b|\bset of\b|\bfor (which|what)\b|\bsolve\b|<|>"
    r"|\\[lg]e|\\[lg]t",
    re.IGNORECASE,
)

LIST = re.compile(
    r"[^()\[\]{}]*[^()\[\]{}\\],[^()\[\]{}]*"
)  # without brackets, whose commas mean something of their own
PAIR = re.compile(r"\s*\$?\s*(?:\\left\s*)?\([^()\[\]]*,[^()\[\]]*\)\s*\$?\s*")
GROUPED = re.compile(r"\s*\$?\s*\d{3}(?:,\d{3})+\s*\$?\s*")

SENTENCE = re.compile(r"[^.?!]*(?:[.?!](?=\S)[^.?!]*)*")
UNIT_PLACE = re.compile(r"\b(?:how many|in)\s+", re.IGNORECASE)
UNIT_WORDS = 5  # metres per second per second
# A number without a unit: no letters but those of roots, fractions and products, no comma but of digit groups.
# Nothing is tried twice: in a majority vote a model's answer stands here.
BARE_NUMBER = re.compile(
    r"[\s$]*+(?>\d{1,3}(?:,\d{3})+(?!\d)|\d+|[-+*/^.{}() ]|\\[dt]?frac|\\sqrt|\\pi|\\cdot|\\times)++[\s$]*+"
)
PERCENTAGE = re.compile(  # what is asked for, and not what it is asked of
    r"\b(?:what|which|how many)(?: [a-z]+){0,3} (?:per\s?cent|rate|probability|chance)|\bpercentage\b"
    r"|\b(?:as|in) (?:a )?(?:per\s?cent|%)|\bby (?:what|how many) per\s?cent",
    re.IGNORECASE,
)
# Percentages, angles and shares are numbers without their unit, too.
DIMENSIONLESS = frozenset(("percent", "degree", "radian"))
MEASURES = frozenset(units.UNITS_BY_KIND) - DIMENSIONLESS
NOT_NAMED = units.NOTHING - {"per"}  # words that no unit's name begins or ends with
NOT_PLURAL = frozenset(("feet", "kelvin", "hertz", "celsius", "fahrenheit", "siemens"))


def interpreted(question: str, gold: str) -> str:
    """The gold answer, marked by what the question says of it. Without a question, what could be either is neither.

    That is: an inequality is not (1,2), which may be a point, and 100200 is not 100,200, which may be two numbers. A
    number gets the unit that the question asks for, so that an answer in another one is converted, or wrong.
    """
    if GROUPED.fullmatch(gold):
        groups = gold.strip(" $").split(",")
        rising = all(int(one) < int(other) for one, other in itertools.pairwise(groups))
        several = SEVERAL.search(question) is not None or (not question and rising)
        gold = ", ".join(groups) if several else gold
    if question and PAIR.fullmatch(gold) and INTERVAL.search(question) and not POINT.search(question):
        return rf"\interval {gold}"
    if question and "," in gold and LIST.fullmatch(gold) and not GROUPED.fullmatch(gold) and ORDERED.search(question):
        return rf"\ordered {gold}"
    if BARE_NUMBER.fullmatch(gold) and any(character.isdigit() for character in gold):
        unit = asked_unit(question)
        if unit:
            return rf"{gold.strip(' $')} \text{{ {unit}}}"
        return gold if not question or PERCENTAGE.search(question) else rf"\number {gold.strip(' $')}"
    return gold


def asked_unit(question: str) -> str:
    """Return the words of the unit that the last sentence of a question asks for; "" if it names none, or several."""
    sentences = [sentence for sentence in SENTENCE.findall(question) if sentence.strip()]
    found = set(_named_units(sentences[-1])) if sentences else set()
    return found.pop() if len(found) == 1 else ""


def _named_units(sentence: str) -> Iterator[str]:
    for place in UNIT_PLACE.finditer(sentence):
        words = [word.strip("$,;:()?") for word in sentence[place.end() :].split()[:UNIT_WORDS]]
        longest = next((words[:size] for size in range(len(words), 0, -1) if _is_unit(words[:size])), None)
        if longest:
            yield " ".join(longest)


def _is_unit(words: Sequence[str]) -> bool:
    """Whether words are a unit of measure, in the plural or by its symbol: "in seconds", and not "in second place"."""
    first = words[1] if words[0].lower() in units.POWERS and len(words) > 1 else words[0]
    spelt_out = len(first) > 2 and first.islower() and first.isalpha()
    if len(first) < 2 or (spelt_out and not first.endswith("s") and first not in NOT_PLURAL):
        return False
    if not NOT_NAMED.isdisjoint(words) or words[-1] in ("per", "square", "cubic"):
        return False
    try:
        unit = units.read(tokenize(rf"\text{{{' '.join(words)}}}"))
    except NotationError:
        return False
    if unit is None or not unit.sure or not unit.kind:
        return False
    bases = {name for name, _ in unit.kind}
    return bases <= MEASURES
