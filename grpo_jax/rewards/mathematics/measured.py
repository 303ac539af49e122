r"""Find the unit that a question asks for, or else the kind of quantity: a count, a length, a percentage."""

import re
from collections.abc import Iterator, Sequence

from grpo_jax.rewards.mathematics import measures, units
from grpo_jax.rewards.mathematics.notation import NotationError, tokenize

SENTENCE = re.compile(r"[^.?!]*(?:[.?!](?=\S)[^.?!]*)*")
UNIT_PLACE = re.compile(r"\b(?:how many|in)\s+(?:(?:more|fewer|full|whole|total|additional)\s+)?", re.IGNORECASE)
UNIT_WORDS = 5  # metres per second per second
PERCENTAGE = re.compile(  # as the quantity that is asked for, not as one that is given
    r"\b(?:what|which|how many)(?: [a-z]+){0,3} per\s?cent|\bpercentage\b|\b(?:as|in) (?:a )?(?:per\s?cent|%)"
    r"|\bby (?:what|how many) per\s?cent",
    re.IGNORECASE,
)
_SOUGHT = r"\b(?:what|which|find|compute|calculate|determine|give)(?: [a-z]+){0,3} (?:%s)\b"
OF_QUESTION = (
    (measures.PERCENTAGE, PERCENTAGE),
    (measures.SHARE, re.compile(_SOUGHT % "probability|chance", re.IGNORECASE)),
    (measures.RATIO, re.compile(_SOUGHT % "ratio", re.IGNORECASE)),
    ("", re.compile(_SOUGHT % "rate", re.IGNORECASE)),  # a rate of interest, or one per second
)
OF_ANSWER = re.compile(r"\b(?:your|the|final) answer\b", re.IGNORECASE)
OLD = re.compile(r"\bhow old\b", re.IGNORECASE)
_ASKING = "what is|what was|what are|find|compute|calculate|determine|give"
_ASKED = rf"\b(?:{_ASKING})(?: (?!of\b)[a-z]+){{0,3}} (?:%s)\b(?! of (?:time|an? angle))"
OF_SENTENCE = (
    (measures.ANGLE, re.compile(r"\bin (?:degrees(?! celsius| fahrenheit)|radians)\b", re.IGNORECASE)),
    *(
        (mark, re.compile(_ASKED % words, re.IGNORECASE))
        for mark, words in (
            (measures.AREA, "area"),
            (measures.VOLUME, "volume"),
            (
                measures.LENGTH,
                "length|distance|perimeter|circumference|radius|diameter|hypotenuse|altitude|height|width",
            ),
            (measures.ANGLE, "(?:measure of (?:the |its )?)?angle"),
        )
    ),
)
COUNTED = re.compile(r"\b(?:how many|in how many|number of)\b((?:\s+[\w-]+){1,4})", re.IGNORECASE)
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


def measure(question: str) -> str:
    """Return the mark for the kind of quantity that a question's last sentence asks for; "" if it may be a rate."""
    sentence = _last_sentence(question)
    for text, patterns in ((question, OF_QUESTION), (sentence, OF_SENTENCE)):
        for mark, asked in patterns:
            if asked.search(text):
                return mark
    counted = [word for words in COUNTED.findall(sentence) for word in words.split()]
    if not {"degrees", "radians"}.isdisjoint(counted):
        return measures.ANGLE
    if counted and not any(_is_unit([word]) or word in units.POWERS for word in counted):
        return measures.COUNT
    return measures.NUMBER if ANGULAR.search(question) else measures.PLAIN


def sentences(question: str) -> list[str]:
    """Return the sentences of a question that are not empty."""
    return [sentence for sentence in SENTENCE.findall(question) if sentence.strip()]


def _last_sentence(question: str) -> str:
    """Return the last sentence that asks for something, and not only for a form."""
    said = sentences(question)
    return next((one for one in reversed(said) if not OF_ANSWER.search(one)), said[-1] if said else "")


def asked_unit(question: str) -> str:
    """Return the words of the unit that the last sentence of a question asks for; "" if it names none, or several."""
    sentence = _last_sentence(question)
    found = set(_named_units(next(reversed(sentences(question)), ""))) or set(_named_units(sentence))
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
