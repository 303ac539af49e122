r"""Read from the question how its gold answer is meant: whether 1,2,3 has an order, (1,2) is a point, 5 is in metres.

The text of the gold answer is marked accordingly (`marks.py`), so a comparison needs no question: \ordered 1,2,3
is a sequence, \interval (1,2) is no point, 100, 200 is not one number, 5 \text{ metres} is not 5 km, \count 5 is
neither 5 % nor 5 cm, \asked x = 5 is not y = 5, \option D 51 is not (C) 51.
"""

import functools
import itertools
import re

from grpo_jax.rewards.mathematics import marks, measures
from grpo_jax.rewards.mathematics.measured import asked_unit, measure
from grpo_jax.rewards.mathematics.options import chosen
from grpo_jax.rewards.mathematics.wanted import letters, wanted, wanted_point, wanted_several

ORDERED = re.compile(
    r"\bin (the |an? )?(order of )?((strictly|non) )?([\w-]+ing|numerical|alphabetical|chronological|lexicographic"
    r"|dictionary|size|correct|right|proper|reverse|that|this|same|given) order\b|\b(de|a)scending(ly)?\b"
    r"|\bin (the )?order\b(?! (to|that)\b)|\border of (\w+ )?(size|magnitude|value|length|age|height|weight)\b"
    r"|\bfrom (the )?(\w+(est|most)|least|first)\b|\b(\w+est|least|most) (\w+ )?(to|first)\b"
    r"|\b(beginning|starting|start|begin) with the (\w+est|least|most)\b"
    r"|\b(arrange|rank|sort)\b|(?:^|[.,:;!?]\s+|\b(?:then|and|please) )order (the|these|this|them|\$)"
    r"|\brespectively\b|\bsequence\b|\b(first|next|last) (\w+ )?(terms|numbers|elements)\b|(?<!\bin )\bterms of\b"
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
    r"|\bpairs?\b|\bsystem\b(?! of (\w+ )?inequal)|\bsimultaneous"
    r"|\bsolve (for )?\$[^$]*(\$\s*(,|and\b)\s*\$|,)[^$]*\$|\(\s*[a-z]\s*,\s*[a-z]\s*\)",
    re.IGNORECASE,
)
INTERVAL = re.compile(
    r"\bintervals?\b|\binequalit|\bdomain\b|\brange\b|\bvalues of\b|\bset of\b|\bfor (which|what)\b|\bsolve\b|<|>"
    r"|\\[lg]e|\\[lg]t",
    re.IGNORECASE,
)

FAMILY = re.compile(
    r"\bgeneral solution\b|\banti-?derivative|\bindefinite\b|\bprimitive\b|\\int(?![a-zA-Z])(?!\s*(?:\\limits\s*)?_)"
    r"|\bdifferential equation|\bparametri|\bvector (?:equation|form)\b",
    re.IGNORECASE,
)
WHOLE = re.compile(
    r"\b(?:integers?|whole|natural number|vertices|people|terms?|sequence|-gon)\b|\$\w_\{?n|\$n\$ [a-z]+s\b",
    re.IGNORECASE,
)
POSITIVE = re.compile(
    r"\bpositive\b|\b(?:mass|length|gravity|gravitational|radius|spring|charge|resistance|capacitance|energy|side|sides"
    r"|height|density)\b|>\s*0",
    re.IGNORECASE,
)
OF_LETTERS = (
    (measures.WHOLE, re.compile(r"\\[lr]?(?:floor|ceil)"), WHOLE),
    (measures.POSITIVE, re.compile(r"\\sqrt"), POSITIVE),
)
MODULUS = re.compile(r"(?:\b(?:mod(?:ulo)?|divided by)|\\[pb]?mod)[\s${(]*(\d{1,9})(?!\w)")
LAST_DIGIT = re.compile(r"\b(?:last|units|ones|unit's) digit\b", re.IGNORECASE)

SEPARATOR = re.compile(r"(?<!\{),|;|\band\b")  # {,} is part of a number
ENCLOSED = re.compile(r"[(\[][^()\[\]]*,|\\[{l]brace|\\\{")  # commas that belong to brackets
PAIR = re.compile(r"\s*\$?\s*(?:\\left\s*)?\([^()\[\]]*,[^()\[\]]*\)\s*\$?\s*")
RELATED = re.compile(r"[=<>:]|\\(?:[lg](?:eq?|t)|ne|neq|in|approx|equiv|text|mathrm)(?![a-zA-Z])")
GROUPED = re.compile(r"\s*\$?\s*\d{3}(?:,\d{3})+\s*\$?\s*")

INTERPRETED = 4096  # gold answers in the cache: a question has many completions
# A number without a unit: the only letters are those of roots, fractions and products, the only commas those of digit
# groups. The pattern never backtracks, because in a majority vote it reads a model's answer.
BARE_NUMBER = re.compile(
    r"[\s$]*+(?>\d{1,3}(?:,\d{3})+(?!\d)|\d+|[-+*/^.{}() ]|\\[dt]?frac|\\sqrt|\\pi|\\cdot|\\times)++[\s$]*+"
)


@functools.lru_cache(maxsize=INTERPRETED)
def interpreted(question: str, gold: str) -> str:
    """Return the gold answer with marks that say how the question means it.

    Without a question, an ambiguous form equals neither of its readings: an inequality does not equal (1,2), which may
    be a point, and 100200 does not equal 100,200, which may be two numbers. A number gets the unit that the question
    asks for, so an answer in another unit is converted, or wrong.
    """
    if not question:
        return _in_groups(gold)
    option = chosen(question, gold)
    if option is not None:
        return f"{marks.OPTION} {option.letter} {_marked(question, option.value) if option.value else ''}".strip()
    marked = _marked(question, gold)
    name = wanted(question)
    if name and not (RELATED.search(gold) or marks.NAMED in marked or "=" in marked or PAIR.fullmatch(marked)):
        return f"{marks.ASKED} {name} = {marked}"
    return marked


def _marked(question: str, gold: str) -> str:
    """Return the gold answer with the mark, the name or the unit that the question implies; as it is without any."""
    if FAMILY.search(question) and not BARE_NUMBER.fullmatch(gold):
        return f"{marks.FAMILY} {{{' '.join(letters(question))}}} {gold}"
    if GROUPED.fullmatch(gold):
        gold = _in_groups(gold, SEVERAL.search(question) is not None)
    elif PAIR.fullmatch(gold):
        point = wanted_point(question)
        if point.count(",") == gold.count(",") > 0:
            return f"({point}) = {gold}"
        if INTERVAL.search(question) and not POINT.search(question):
            return f"{marks.INTERVAL} {gold}"
    elif SEPARATOR.search(gold) and not ENCLOSED.search(gold):
        names = wanted_several(question)
        parts = [part.strip() for part in SEPARATOR.split(gold) if part.strip(" $")]
        if len(parts) == len(names) and not RELATED.search(gold):
            return f"{marks.NAMED} {', '.join(f'{name} = {part}' for name, part in zip(names, parts, strict=True))}"
        if ORDERED.search(question):
            return f"{marks.ORDERED} {gold}"
    if BARE_NUMBER.fullmatch(gold) and any(character.isdigit() for character in gold):
        number = gold.strip(" $")
        unit = asked_unit(question)
        number = rf"{number} \text{{ {unit}}}" if unit else f"{measure(question)} {number}".strip()
        moduli = {*MODULUS.findall(question), *("10" for _ in LAST_DIGIT.findall(question))}
        return f"{marks.MODULO} {{{moduli.pop()}}} {number}" if len(moduli) == 1 else number
    for mark, command, said in OF_LETTERS:
        if command.search(gold) and said.search(question):
            return f"{mark} {gold}"
    return gold


def _in_groups(gold: str, several: bool | None = None) -> str:
    """Return 100,200 as a list if the question asks for several numbers, or if there is no question and it rises."""
    if not GROUPED.fullmatch(gold):
        return gold
    groups = gold.strip(" $").split(",")
    if several is None:
        several = all(int(one) < int(other) for one, other in itertools.pairwise(groups))
    return ", ".join(groups) if several else gold
