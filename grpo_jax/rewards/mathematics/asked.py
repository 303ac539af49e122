r"""What a question says of its gold answer: whether 1,2,3 is in order, (1,2) a point, and 100,200 two numbers.

The gold answer's text is marked accordingly, so that whoever compares it needs no question: \ordered 1,2,3 is a
sequence, \interval (1,2) is no point, and 100, 200 no number.
"""

import itertools
import re

ORDERED = re.compile(
    r"\b(in|the) (increasing|decreasing|ascending|descending|numerical|alphabetical|chronological|that|given) order"
    r"|\bin order\b|\border of (size|magnitude)|\bfrom (the )?(least|smallest|largest|greatest|lowest|highest|first)\b"
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


def interpreted(question: str, gold: str) -> str:
    """The gold answer, marked by what the question says of it. Without a question, what could be either is neither.

    That is: an inequality is not (1,2), which may be a point, and 100200 is not 100,200, which may be two numbers.
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
    return gold
