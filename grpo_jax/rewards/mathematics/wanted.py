r"""Find the quantity that a question asks for: "Find $f(3)$.", "What is $x^2 + y^2$?", "Solve $3x + 5 = 20$."

An answer may omit its name, but `f(2) = 7` is not f(3), `y = 5` is not x, and a perimeter is not an area.
"""

import itertools
import re

from grpo_jax.rewards.mathematics.brackets import split, texts_of
from grpo_jax.rewards.mathematics.expression import SYMBOLS
from grpo_jax.rewards.mathematics.measured import sentences
from grpo_jax.rewards.mathematics.notation import NotationError, Token, tokenize
from grpo_jax.rewards.mathematics.nouns import quantities
from grpo_jax.rewards.mathematics.same_name import NO_NAME

_FILLER = (
    "the a all every each exact numerical possible real positive negative integer integral rational complex whole "
    "least smallest greatest largest maximum minimum maximal minimal only remaining value values of for an explicit "
    "general closed form formula expression partial"
)
_NOUNS = (
    "angle length side segment modulus derivative inverse probability sum product ratio quantity expression number "
    "numbers integers primes angles"
)
FILLER = rf"(?:(?:{'|'.join(_FILLER.split())})\s+)*"
ASKING = r"(?:find|compute|determine|evaluate|calculate|what\s+(?:is|are|was|must)|solve\s+for|for\s+(?:what|which))"
NAMED = re.compile(
    rf"\b{ASKING}\s+{FILLER}(?:(?:length|measure)\s+of\s+)?(?:(?:{'|'.join(_NOUNS.split())})\s+)?"
    r"(?:\$([^$]+)\$(?!th\b)(?:-([a-z]+))?|([b-hj-z])(?![\w'(^]))(?!\s*(?:,|and\b|or\b|,\s*and\b)\s*\$|\s+at\b)",
    re.IGNORECASE,
)
EQUATION = re.compile(
    r"\b(?:solve|solutions?|roots?|satisf(?:y|ies|ying)|suppose|given)\b[^$.?]*\$([^$]+)\$", re.IGNORECASE
)
OF_FUNCTION = re.compile(r"\b(domain|range)\b[^$.?]*\$([^$]+)\$", re.IGNORECASE)
FUNCTION = re.compile(r"\s*[a-zA-Z]\s*\(\s*([a-z])\s*\)")
OF_SEVERAL = re.compile(
    r"\b(?:sum|product|difference|average|mean|total|squares|number|how\s+many|coefficient|degree)\b", re.IGNORECASE
)
COMPUTED = {  # words for functions of a quantity that the question names
    "determinant": r"\det %s", "modulus": "|%s|", "absolute value": "|%s|", "magnitude": "|%s|", "sine": r"\sin %s",
    "cosine": r"\cos %s", "tangent": r"\tan %s",
}  # fmt: skip
OPERATION = re.compile(
    rf"\b({'|'.join(COMPUTED)}) of (?:the )?(?:(?:angle|matrix|vector|complex number|number) )?\$([^$]+)\$",
    re.IGNORECASE,
)
CLAUSE = re.compile(  # the quantity asked for in words, without the quantities given
    rf"\b(?:{ASKING}|give|state)\s+(?:(?:the|both|values?\s+of)\s+)*"
    r"((?:\$[^$]*\$|(?!\b(?:(?<!value )(?<!values )of|with|if|whose|where|when|given|that|such|for|on|in|at|from"
    r"|between|using)\b)[^$.?;:])*)",
    re.IGNORECASE,
)
ASKED_SENTENCE = re.compile(rf"\b(?:{ASKING}|give|state|how)\b", re.IGNORECASE)
PROPER = re.compile(r"(?<!^)\b[A-Z][a-z]+\b")
EXTREMES = quantities(["least", "greatest"])  # a second noun says what they are extremes of
JOINED = re.compile(r",(?:\s*and\b)?|\band\b")
QUOTED = re.compile(r"\$([^$]+)\$")
POINT = re.compile(r"\$\s*\(\s*([a-z](?:\s*,\s*[a-z])+)\s*\)\s*\$")
_RELATED = "= < > \\le \\ge \\ne \\approx \\equiv \\in \\rightarrow , ; :"
RELATED = frozenset(_RELATED.split())
SOLVED = frozenset(("=", "<", ">", "\\le", "\\ge", "\\equiv"))
MAX_TOKENS = 30  # of a name
MAX_NOUN_WORDS = 5


def wanted(question: str) -> str:
    r"""Return the quantity that a question asks for, as it is written there; "" if it names none, or several.

    If the question asks in words, that is the noun. After a \\# come letters and people that are something else:
    \text{sum} \\# x.
    """
    operations = OPERATION.findall(question)
    if len(operations) == 1:
        return COMPUTED[operations[0][0].lower()] % operations[0][1]
    found = set(filter(None, map(_with_noun, NAMED.finditer(question))))
    if not found and (of_function := OF_FUNCTION.search(question)):
        found = {_of_function(*of_function.groups())} - {""}
    elif not found and not OF_SEVERAL.search(question):
        found = {unknown for equation in EQUATION.findall(question) if (unknown := _unknown(equation))}
    if not found:
        return _in_words(question)
    if len(found) != 1:
        return ""
    name = found.pop()
    tokens = _tokens(name)
    if split(tokens, RELATED)[1]:
        return _unknown(name)
    texts = texts_of(tokens)
    known = len(tokens) <= MAX_TOKENS and "," not in texts and (any(map(_is_variable, tokens)) or quantities(texts))
    return name if known else ""


def _with_noun(found: re.Match[str]) -> str:
    r"""Return the name and the noun of a quantity: y \text{intercept}, f(x) \text{maximum}."""
    quoted, noun, letter = found.groups()
    name = (quoted or letter).strip(" $.,")
    before = quantities(found[0].partition("$")[0].split()) & EXTREMES
    nouns = [one.split()[0] for one in (*quantities([noun or ""]), *before)]
    if not name or not nouns:
        return name
    related = split(_tokens(name), RELATED)[1]
    return rf"\text{{{nouns[0]}}}" if related else rf"{name} \text{{{nouns[0]}}}"


def _of_function(noun: str, function: str) -> str:
    """Return the variable of a domain, or the function of a range."""
    named = FUNCTION.match(function)
    if named is not None:
        return named[1] if noun.lower() == "domain" else named[0]
    found = {token.text for token in _tokens(function) if _is_variable(token)}
    letter = found.pop() if len(found) == 1 else ""
    return letter if not letter or noun.lower() == "domain" else f"{NO_NAME} {letter}"


def _in_words(question: str) -> str:
    """Return the noun of the quantity asked for, and all other names in the question."""
    asking = next((one for one in reversed(sentences(question)) if ASKED_SENTENCE.search(one)), "")
    clause = CLAUSE.search(asking)
    nouns = quantities(re.findall(r"[A-Za-z]+", clause[1])) - quantities(["length"]) if clause else frozenset[str]()
    nouns = nouns - EXTREMES or nouns
    others = set[str]()
    if OF_SEVERAL.search(question):
        others.update(letters(question))
    people = set(PROPER.findall(asking.strip()))
    if people:
        others |= {rf"\text{{{name}}}" for name in re.findall(r"\b[A-Z][a-z]+\b", question) if name not in asking}
    named = [rf"\text{{{noun.split()[0]}}}" for noun in nouns] if len(nouns) == 1 else []
    return " ".join((*named, NO_NAME, *sorted(others)) if others else named)


def letters(question: str) -> list[str]:
    """Return the variables in the mathematics of a question."""
    quoted = (token for part in QUOTED.findall(question) for token in _tokens(part))
    return sorted({token.text for token in quoted if _is_variable(token)})


def wanted_several(question: str) -> list[str]:
    """Return the names of two or more quantities that a question asks for, in its order; [] if they are not clear."""
    asking = next((one for one in reversed(sentences(question)) if CLAUSE.search(one)), "")
    clause = CLAUSE.search(asking)
    names = [name for part in JOINED.split(clause[1]) if (name := part.strip())] if clause else []
    named = [_name(name) for name in names]
    return named if len(named) > 1 and all(named) and len(set(named)) == len(named) else []


def _name(text: str) -> str:
    quoted = QUOTED.fullmatch(text)
    if quoted is not None:
        tokens = _tokens(quoted[1])
        return quoted[1].strip() if any(map(_is_variable, tokens)) and not split(tokens, RELATED)[1] else ""
    words = [word for word in re.findall(r"[A-Za-z]+", text) if quantities([word])]
    return rf"\text{{{' '.join(words)}}}" if words and len(text.split()) <= MAX_NOUN_WORDS else ""


def wanted_point(question: str) -> str:
    """Return the names of the coordinates that a question asks for, as "x,y"; "" if it names no or several points."""
    found = {names.replace(" ", "") for names in POINT.findall(question)}
    return found.pop() if len(found) == 1 else ""


def _unknown(equation: str) -> str:
    """Return the only variable of an equation or inequality; "" if it is neither, or has several variables."""
    texts = [token.text for token in _tokens(equation)]
    names = {token.text for token in _tokens(equation) if _is_variable(token)}
    indexed = any(text == "_" and before != "\\log" for before, text in itertools.pairwise(texts))  # a_n, not \\log_2
    return names.pop() if len(names) == 1 and not SOLVED.isdisjoint(texts) and not indexed else ""


def _is_variable(token: Token) -> bool:
    return (token.kind == "symbol" and token.text not in "ei") or token.text in SYMBOLS


def _tokens(text: str) -> list[Token]:
    try:
        return tokenize(text)
    except NotationError:
        return []
