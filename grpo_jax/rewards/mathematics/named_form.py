r"""Check that an answer has the form that its question names: in the form $a+bi$, as a decimal, factored completely.

A form is only required if the gold answer has it. It is recognised in the tree of the expression, so the order of terms
and factors does not matter, and a fraction bar under a whole sum, as in (1+3i)/2, is as good as one under each term.
"""

import math
import re
from collections.abc import Callable, Iterator

from grpo_jax.rewards.mathematics import units
from grpo_jax.rewards.mathematics.answer import Answer, Relation, Statement
from grpo_jax.rewards.mathematics.expression import ONE, Node, names, nodes
from grpo_jax.rewards.mathematics.formula import Formula
from grpo_jax.rewards.mathematics.outcome import formulas

LARGEST_ROOT = 1000  # larger numbers are not tried when powers are searched under a root
BARS = frozenset(("\\frac", "/"))
LOGARITHMS = frozenset(("ln", "log"))


def has_named_form(question: str, gold: Answer, answer: Answer) -> bool:
    """Return whether an answer that equals the gold one has each form that the question names and the gold one has."""
    if ANY_FORM.search(question):
        return True
    named = [fits for pattern, fits in PHRASES if pattern.search(question)]
    templates = _templates(question)
    named += [fits for pattern, fits in TEMPLATES if any(map(pattern.search, templates))]
    if names_equation(question) and not _solved_alike(gold, answer):
        return False
    ours, theirs = (list(_said(one)) for one in (gold, answer))
    if not any(one.variables for one in ours):
        theirs = [one.measured or one for one in theirs]  # 5 m is not a product
    if not ours or any(one.node is None for one in (*ours, *theirs)):
        return True
    return all(
        any(fits(one, other) for one in ours)
        for fits in named
        if all(fits(one, one) for one in ours)
        for other in theirs
    )


def names_equation(question: str) -> bool:
    """Return whether a question names a form of equations, or the letter to solve one for."""
    return bool(EQUATION.search(question)) or any("=" in template for template in _templates(question))


def _templates(question: str) -> list[str]:
    """Return the formulas that a question gives as forms."""
    return ["".join(found) for found in TEMPLATE.findall(question)]


def _solved_alike(gold: Answer, answer: Answer) -> bool:
    """Return whether an equation is solved for a letter, or has no letters on the right, if the gold one is so."""
    if isinstance(gold, Relation) and isinstance(answer, Relation):
        return bool(gold.right.variables) or not answer.right.variables
    return {type(gold), type(answer)} != {Relation, Statement}


def _said(answer: Answer) -> Iterator[Formula]:
    match answer:
        case Statement(values=(*_, value)):
            return _said(value)
        case Relation(left=left, right=right):
            return iter((left, right))
    return formulas(answer)


def _tree(of: Formula) -> Node:
    """Return the tree of a formula without its sign."""
    assert of.node is not None
    node = of.node
    while node.operation == "negative":
        node = node.arguments[0]
    return node


def _imaginary(node: Node) -> bool:
    return any(inner.name == "i" for inner in nodes(node))


def _complex(gold: Formula, answer: Formula) -> bool:
    """Return whether i occurs once and is only multiplied by numbers."""
    tree = _tree(answer)
    once = sum(inner.name == "i" for inner in nodes(tree)) < 2
    return once and not any(
        (inner.operation in ("power", "root", "apply", "exp", "absolute") and _imaginary(inner))
        or (inner.operation == "quotient" and _imaginary(inner.arguments[1]))
        or (inner.operation == "product" and any(_is_sum(one) and _imaginary(one) for one in inner.arguments))
        for inner in nodes(tree)
    )


def _is_sum(node: Node) -> bool:
    return node.operation == "sum"


def _one_fraction(gold: Formula, answer: Formula) -> bool:
    tree = _tree(answer)
    return not _is_sum(tree) and sum(inner.operation == "quotient" for inner in nodes(tree)) == 1


def _one_logarithm(gold: Formula, answer: Formula) -> bool:
    return _tree(answer).operation in LOGARITHMS and sum(n.operation in LOGARITHMS for n in nodes(_tree(answer))) == 1


def _decimal(gold: Formula, answer: Formula) -> bool:
    return _tree(answer).operation == "number" and BARS.isdisjoint(answer.tokens) and answer.unit != units.PERCENT


def _mixed(gold: Formula, answer: Formula) -> bool:
    return _tree(answer).operation == "number" and not BARS.isdisjoint(answer.tokens)


def _percentage(gold: Formula, answer: Formula) -> bool:
    return units.PERCENT in (gold.unit, answer.unit) and answer.value == gold.value


def _scientific(gold: Formula, answer: Formula) -> bool:
    tree = _tree(answer)
    if tree.operation == "number":
        return any(re.fullmatch(r"[\d.]+[eE][+-]?\d+", token) for token in answer.tokens)
    mantissa, *power = tree.arguments if tree.operation == "product" else (ONE, tree)
    return (
        mantissa.operation == "number"
        and 1 <= mantissa.value < 10
        and len(power) == 1
        and power[0].operation == "power"
        and power[0].arguments[0].value == 10
    )


def _power(gold: Formula, answer: Formula) -> bool:
    return _tree(answer).operation == "power"


def _reduced(gold: Formula, answer: Formula) -> bool:
    """Return whether numerators and denominators have no visible common factor, neither a number nor an expression."""
    for inner in nodes(_tree(answer)):
        if inner.operation == "quotient":
            top, bottom = ({one for one, _ in _flat(side) if names(one)} for side in inner.arguments)
            if math.gcd(*map(_content, inner.arguments)) != 1 or not top.isdisjoint(bottom):
                return False
    return True


def _collected(gold: Formula, answer: Formula) -> bool:
    """Return whether no sum has like terms such as 2x and 3x."""
    for inner in nodes(_tree(answer)):
        if inner.operation == "sum":
            terms = [frozenset(one for one in _flat(term) if one[0].operation != "number") for term in inner.arguments]
            if len(set(terms)) < len(terms):
                return False
    return True


def _content(node: Node) -> int:
    """Return the largest whole number that visibly divides an expression."""
    match node:
        case Node("number", value=value) if value.denominator == 1:
            return abs(int(value))
        case Node("negative", (of,)):
            return _content(of)
        case Node("product", factors):
            return math.prod(map(_content, factors))
        case Node("sum", terms):
            return math.gcd(*map(_content, terms))
    return 1


def _simple_roots(gold: Formula, answer: Formula) -> bool:
    """Return whether no root is in a denominator or over a fraction, and none can be taken in part."""
    return _without_root_below(gold, answer) and not any(
        any(one.operation == "quotient" for one in nodes(inner)) or _has_power(*inner.arguments)
        for inner in nodes(_tree(answer))
        if inner.operation == "root"
    )


def _has_power(of: Node, degree: Node) -> bool:
    if degree.value.denominator != 1 or degree.value < 2:
        return False
    value, exponent = _content(of), min(int(degree.value), LARGEST_ROOT)
    powers = (base**exponent for base in range(2, LARGEST_ROOT))
    for power in powers:
        if power > value:
            return False
        if value % power == 0:
            return True
    return False


def _without_root_below(gold: Formula, answer: Formula) -> bool:
    return not any(
        inner.operation == "quotient" and any(one.operation == "root" for one in nodes(inner.arguments[1]))
        for inner in nodes(_tree(answer))
    )


def _factored(gold: Formula, answer: Formula) -> bool:
    """Return whether an answer has as many factors as the gold one, with letters and without.

    Factors count with multiplicity, but all numbers before a polynomial count as one.
    """
    (letters, numbers), (ours, known) = (_factors(_tree(one)) for one in (answer, gold))
    return ours + known > 1 and letters >= ours and numbers >= (min(known, 1) if ours else known)


def _factors(node: Node) -> tuple[int, int]:
    """Return how many factors have letters and how many have none."""
    found = list(_flat(node))
    letters = sum(times for one, times in found if names(one))
    return letters, sum(times for _, times in found) - letters


def _flat(node: Node) -> Iterator[tuple[Node, int]]:
    match node:
        case Node("negative", (of,)):
            yield from _flat(of)
        case Node("product" | "quotient", factors):
            for factor in factors:
                yield from _flat(factor)
        case Node("power", (base, Node("number", value=value))) if value.denominator == 1 and value > 0:
            for factor, times in _flat(base):
                yield factor, times * int(value)
        case Node("number", value=value) if value == 1:
            return
        case _:
            yield node, 1


def _expanded(gold: Formula, answer: Formula) -> bool:
    """Return whether no sum is multiplied, and terms with letters are collected as in the gold answer."""
    multiplied = any(
        (inner.operation == "product" and any(map(_is_sum, inner.arguments)))
        or (inner.operation == "power" and _is_sum(inner.arguments[0]))
        for inner in nodes(_tree(answer))
    )
    return not multiplied and (not gold.variables or _terms(answer) <= _terms(gold))


def _terms(of: Formula) -> int:
    return sum(len(inner.arguments) - 1 for inner in nodes(_tree(of)) if _is_sum(inner))


def _once(gold: Formula, answer: Formula) -> bool:
    """Return whether no letter occurs twice."""
    letters = [inner.name for inner in nodes(_tree(answer)) if inner.operation == "symbol"]
    return len(letters) == len(set(letters))


Fits = Callable[[Formula, Formula], bool]  # (the gold answer, an answer that equals it) -> whether it has the form


def _compiled(*forms: tuple[str, Fits]) -> list[tuple[re.Pattern[str], Fits]]:
    return [(re.compile(pattern, re.IGNORECASE), fits) for pattern, fits in forms]


ANY_FORM = re.compile(  # any form, or one of several
    r"\bany (\w+ )?form\b|\b(form|notation|decimal|fraction|percent(age)?|number)\b,? or (as |in )?(an? )?(\w+ ){0,2}"
    r"(form|notation|decimal|fraction|percent(age)?|number)\b",
    re.IGNORECASE,
)
TEMPLATE = re.compile(
    r"\bform\s+(?:of\s+)?\$([^$]+)\$|\$([^$]+)\$[ -]form\b|\b(?:re)?(?:write|express)\b[^.?]*?\bas\s+\$([^$]+)\$",
    re.IGNORECASE,
)
EQUATION = re.compile(
    r"\b(slope[- ]intercept|standard|general|vertex|point[- ]slope) form\b"
    r"|\b(?:solve|solved|solving|formula)\b[^.?]*\bfor \$?\\?[a-z]+\$?(?=[\s.,?]|$)|\bmake \$?[a-z]\$? the subject\b"
    r"|\b(?:express|write|find) \$?[a-z]\$? in terms of\b",
    re.IGNORECASE,
)
AS = r"\b(?:as|to|into) an? (?:[\w-]+ ){0,2}"
FACTOR = r"\bfactor(?:i[sz]e)?\b\s*(?:(?:the|out|each|this|completely|fully|over)\b|[:$])"
PHRASES = _compiled(
    (r"\b(?:rectangular|standard|cartesian) form\b", _complex),
    (AS + r"fraction\b", _one_fraction),
    (r"\bsingle logarithm\b", _one_logarithm),
    (AS + r"decimal\b|\bdecimal (?:form|notation)\b", _decimal),
    (r"\bmixed (?:number|fraction|numeral)\b", _mixed),
    (AS + r"percent(?:age)?\b", _percentage),
    (r"\bscientific notation\b", _scientific),
    (AS + r"power\b|\bexponential form\b", _power),
    (r"\b(?:lowest|simplest) terms\b|\bsimplest form\b|\b(?:reduced?|irreducible)\b|\bsimplif", _reduced),
    (r"\bsimplif|\bsimpl\w+ (?:\w+ )?form\b|\bradical form\b", _simple_roots),
    (r"\bsimplif|\bsimpl\w+ (?:\w+ )?form\b|\b(?:combine|collect)\b", _collected),
    (r"\brationali[sz]e\b|\brational denominator\b", _without_root_below),
    (FACTOR + rf"|\bfactor(?:ed|i[sz]ed) form\b|\bfactori[sz]ation\b|{AS}product\b", _factored),
    (r"\bexpand\b|\bmultiply out\b|\b(?:expanded|standard|slope[- ]intercept) form\b", _expanded),
    (r"\b(?:vertex|standard) form\b|\bcomplet\w+ the square\b", _once),
)
TEMPLATES = _compiled(
    (r"^(?!.*e\s*\^).*(?:\b[a-z]?i\b|\bi[a-z]\b)", _complex),
    (r"\\sqrt", _simple_roots),
    (r"\\sqrt", _expanded),
    (r"10\s*\^", _scientific),
    (r"\)\s*\^\s*\{?2", _once),
    (r"^\s*(?:\\[dt]?frac\s*\{?\w\}?\s*\{?\w\}?|\w\s*/\s*\w)\s*$", _one_fraction),
    (r"^\s*\w+\s*\^\s*\{?\w\}?\s*$", _power),
)
