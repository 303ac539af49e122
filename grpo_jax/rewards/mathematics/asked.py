r"""What a question says of its gold answer: whether 1,2,3 is in order, (1,2) a point, 100,200 two numbers, 5 metres.

The gold answer's text is marked accordingly (`marks.py`), so that whoever compares it needs no question: \ordered 1,2,3
is a sequence, \interval (1,2) is no point, 100, 200 no number, 5 \text{ metres} is not 5 km, \count 5 is neither 5 %
nor 5 cm, \asked x = 5 is not y = 5, \option D 51 is not (C) 51.
"""

import functools
import itertools
import re
from collections.abc import Iterator, Sequence

from grpo_jax.rewards.mathematics import marks, measures, units
from grpo_jax.rewards.mathematics.notation import NotationError, tokenize
from grpo_jax.rewards.mathematics.options import chosen
from grpo_jax.rewards.mathematics.wanted import wanted, wanted_point

ORDERED = re.compile(
    r"\b(in|the) (increasing|decreasing|ascending|descending|numerical|alphabetical|chronological|that|this|given)"
    r" order"
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
RELATED = re.compile(r"[=<>:]|\\(?:[lg](?:eq?|t)|ne|neq|in|approx|equiv|text|mathrm)(?![a-zA-Z])")
GROUPED = re.compile(r"\s*\$?\s*\d{3}(?:,\d{3})+\s*\$?\s*")

INTERPRETED = 4096  # gold answers that are remembered: a question has many completions
SENTENCE = re.compile(r"[^.?!]*(?:[.?!](?=\S)[^.?!]*)*")
UNIT_PLACE = re.compile(r"\b(?:how many|in)\s+(?:(?:more|fewer|full|whole|total|additional)\s+)?", re.IGNORECASE)
UNIT_WORDS = 5  # metres per second per second
# A number without a unit: no letters but those of roots, fractions and products, no comma but of digit groups.
# Nothing is tried twice: in a majority vote a model's answer stands here.
BARE_NUMBER = re.compile(
    r"[\s$]*+(?>\d{1,3}(?:,\d{3})+(?!\d)|\d+|[-+*/^.{}() ]|\\[dt]?frac|\\sqrt|\\pi|\\cdot|\\times)++[\s$]*+"
)
PERCENTAGE = re.compile(  # what is asked for, and not what it is asked of
    r"\b(?:what|which|how many)(?: [a-z]+){0,3} per\s?cent|\bpercentage\b|\b(?:as|in) (?:a )?(?:per\s?cent|%)"
    r"|\bby (?:what|how many) per\s?cent",
    re.IGNORECASE,
)
RATE = re.compile(r"\b(?:what|which)(?: [a-z]+){0,3} rate\b", re.IGNORECASE)  # of interest, or of so many a second
SHARE = re.compile(
    r"\b(?:what|which|find|compute|calculate|determine)(?: [a-z]+){0,3} (?:probability|chance)\b", re.IGNORECASE
)
RATIO = re.compile(r"\b(?:what|find|compute|determine|give)\b(?: [a-z]+){0,3} ratio\b", re.IGNORECASE)
OLD = re.compile(r"\bhow old\b", re.IGNORECASE)
_ASKING = "what is|what was|what are|find|compute|calculate|determine|give"
_ASKED = rf"\b(?:{_ASKING})(?: (?!of\b)[a-z]+){{0,3}} (?:%s)\b(?! of (?:time|an? angle))"
MEASURED = tuple(
    (mark, re.compile(_ASKED % words, re.IGNORECASE))
    for mark, words in (
        (measures.AREA, "area"),
        (measures.VOLUME, "volume"),
        (measures.LENGTH, "length|distance|perimeter|circumference|radius|diameter|hypotenuse|altitude|height|width"),
        (measures.ANGLE, "(?:measure of (?:the |its )?)?angle"),
    )
)
COUNTED = re.compile(r"\b(?:how many|in how many|number of)\b((?:\s+[\w-]+){1,4})", re.IGNORECASE)
IN_DEGREES = re.compile(r"\bin (?:degrees(?! celsius| fahrenheit)|radians)\b", re.IGNORECASE)
ANGULAR = re.compile(
    r"angle|degree|radian|°|\\circ|\\deg|bearing|latitude|longitude|rotat|temperature|inclin|argument|phase|\barc"
    r"|sin|cos|tan|polar|theta|turn|direction|celsius|fahrenheit",
    re.IGNORECASE,
)
# Percentages, angles and shares are numbers without their unit, too.
DIMENSIONLESS = frozenset(("percent", "degree", "radian"))
MEASURES = frozenset(units.UNITS_BY_KIND) - DIMENSIONLESS
NOT_NAMED = units.NOTHING - {"per"}  # words that no unit's name begins or ends with
NOT_PLURAL = frozenset(("feet", "kelvin", "hertz", "celsius", "fahrenheit", "siemens"))


@functools.lru_cache(maxsize=INTERPRETED)
def interpreted(question: str, gold: str) -> str:
    """Return the gold answer, marked by what the question says of it.

    Without a question, what could be either is neither: an inequality is not (1,2), which may be a point, and 100200 is
    not 100,200, which may be two numbers. A number gets the unit that the question asks for, so that an answer in
    another one is converted, or wrong.
    """
    if not question:
        return _in_groups(gold)
    option = chosen(question, gold)
    if option is not None:
        return f"{marks.OPTION} {option.letter} {_marked(question, option.value) if option.value else ''}".strip()
    marked = _marked(question, gold)
    name = wanted(question)
    if name and not (RELATED.search(gold) or PAIR.fullmatch(marked)):
        return f"{marks.ASKED} {name} = {marked}"
    return marked


def _marked(question: str, gold: str) -> str:
    if GROUPED.fullmatch(gold):
        gold = _in_groups(gold, SEVERAL.search(question) is not None)
    elif PAIR.fullmatch(gold):
        names = wanted_point(question)
        if names.count(",") == gold.count(",") > 0:
            return f"({names}) = {gold}"
        if INTERVAL.search(question) and not POINT.search(question):
            return f"{marks.INTERVAL} {gold}"
    elif "," in gold and LIST.fullmatch(gold) and ORDERED.search(question):
        return f"{marks.ORDERED} {gold}"
    if BARE_NUMBER.fullmatch(gold) and any(character.isdigit() for character in gold):
        number = gold.strip(" $")
        unit = asked_unit(question)
        mark = "" if unit else _measure(question)
        return rf"{number} \text{{ {unit}}}" if unit else f"{mark} {number}".strip()
    return gold


def _in_groups(gold: str, several: bool | None = None) -> str:
    """Return 100,200 as a list, if it is one for the question, or rises where there is none."""
    if not GROUPED.fullmatch(gold):
        return gold
    groups = gold.strip(" $").split(",")
    if several is None:
        several = all(int(one) < int(other) for one, other in itertools.pairwise(groups))
    return ", ".join(groups) if several else gold


def _measure(question: str) -> str:
    """Return the mark of what the last sentence of a question asks a number to measure; "" if it may be a rate."""
    if PERCENTAGE.search(question):
        return measures.PERCENTAGE
    if SHARE.search(question):
        return measures.SHARE
    if RATIO.search(question):
        return measures.RATIO
    if RATE.search(question):
        return ""
    sentence = _last_sentence(question)
    if IN_DEGREES.search(sentence):
        return measures.ANGLE
    for mark, asked in MEASURED:
        if asked.search(sentence):
            return mark
    counted = [word for words in COUNTED.findall(sentence) for word in words.split()]
    if not {"degrees", "radians"}.isdisjoint(counted):
        return measures.ANGLE
    if counted and not any(_is_unit([word]) or word in units.POWERS for word in counted):
        return measures.COUNT
    return measures.NUMBER if ANGULAR.search(question) else measures.PLAIN


def _last_sentence(question: str) -> str:
    sentences = [sentence for sentence in SENTENCE.findall(question) if sentence.strip()]
    return sentences[-1] if sentences else ""


def asked_unit(question: str) -> str:
    """Return the words of the unit that the last sentence of a question asks for; "" if it names none, or several."""
    sentence = _last_sentence(question)
    found = set(_named_units(sentence))
    if not found and OLD.search(sentence):
        return "years"
    return found.pop() if len(found) == 1 else ""


def _named_units(sentence: str) -> Iterator[str]:
    for place in UNIT_PLACE.finditer(sentence):
        words = [word.strip("$,;:()?") for word in sentence[place.end() :].split()[:UNIT_WORDS]]
        longest = next((words[:size] for size in range(len(words), 0, -1) if _is_unit(words[:size])), None)
        if longest:
            yield " ".join(longest)


def _is_unit(words: Sequence[str]) -> bool:
    """Return whether words are a unit of measure, in the plural or by its symbol: "seconds", and not "second place"."""
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
