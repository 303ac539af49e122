r"""Which quantity a question asks for: "Find $f(3)$.", "What is $x^2 + y^2$?", "Solve $3x + 5 = 20$."

An answer may leave its name out, but `f(2) = 7` is not f(3), and `y = 5` is not x.
"""

import re

from grpo_jax.rewards.mathematics.brackets import split, texts_of
from grpo_jax.rewards.mathematics.expression import SYMBOLS
from grpo_jax.rewards.mathematics.notation import NotationError, Token, tokenize

_FILLER = (
    "the a all every each exact numerical possible real positive negative integer integral rational complex whole "
    "least smallest greatest largest maximum minimum maximal minimal only remaining value values of for"
)
_NOUNS = (
    "angle length side segment modulus derivative inverse probability sum product ratio quantity expression number "
    "numbers integers primes angles"
)
FILLER = rf"(?:(?:{'|'.join(_FILLER.split())})\s+)*"
ASKING = r"(?:find|compute|determine|evaluate|calculate|what\s+(?:is|are|was|must)|solve\s+for|for\s+(?:what|which))"
NAMED = re.compile(
    rf"\b{ASKING}\s+{FILLER}(?:(?:length|measure)\s+of\s+)?(?:(?:{'|'.join(_NOUNS.split())})\s+)?"
    r"(?:\$([^$]+)\$|([b-hj-z])(?![\w'(^]))(?!\s*(?:,|and\b|or\b|,\s*and\b)\s*\$|\s+at\b)",
    re.IGNORECASE,
)
EQUATION = re.compile(
    r"\b(?:solve|solutions?|roots?|satisf(?:y|ies|ying)|suppose|given)\b[^$.?]*\$([^$]+)\$", re.IGNORECASE
)
DOMAIN = re.compile(r"\bdomain\b[^$]*\$\s*[a-zA-Z]\s*\(\s*([a-z])\s*\)", re.IGNORECASE)
OF_SEVERAL = re.compile(
    r"\b(?:sum|product|difference|average|mean|total|squares|number|how\s+many|coefficient|degree)\b", re.IGNORECASE
)
COMPUTED = {  # in words, of what a question names
    "determinant": r"\det %s", "modulus": "|%s|", "absolute value": "|%s|", "magnitude": "|%s|", "sine": r"\sin %s",
    "cosine": r"\cos %s", "tangent": r"\tan %s",
}  # fmt: skip
OPERATION = re.compile(
    rf"\b({'|'.join(COMPUTED)}) of (?:the )?(?:(?:angle|matrix|vector|complex number|number) )?\$([^$]+)\$",
    re.IGNORECASE,
)
NO_NAME = "\\#"  # before the letters that do not name what is asked for
QUOTED = re.compile(r"\$([^$]+)\$")
POINT = re.compile(r"\$\s*\(\s*([a-z](?:\s*,\s*[a-z])+)\s*\)\s*\$")
_RELATED = "= < > \\le \\ge \\ne \\approx \\equiv \\in \\rightarrow , ; :"
RELATED = frozenset(_RELATED.split())
SOLVED = frozenset(("=", "<", ">", "\\le", "\\ge"))
LONGEST = 30  # tokens of a name


def wanted(question: str) -> str:
    r"""Return the quantity that a question asks for, as it is written there; "" if it names none, or several.

    Where it asks how many there are, or for a sum, that is \\# and the letters that are something else: \\# x.
    """
    operations = OPERATION.findall(question)
    if len(operations) == 1:
        return COMPUTED[operations[0][0].lower()] % operations[0][1]
    found = {name.strip(" $.,") for place in NAMED.findall(question) for name in place if name}
    if not found and OF_SEVERAL.search(question):
        tokens = [token for part in QUOTED.findall(question) for token in _tokens(part)]
        letters = sorted({token.text for token in tokens if _is_variable(token)})
        return f"{NO_NAME} {' '.join(letters)}" if letters else ""
    if not found:
        found = set(DOMAIN.findall(question)) or {_unknown(equation) for equation in EQUATION.findall(question)}
    if len(found) != 1:
        return ""
    name = found.pop()
    tokens = _tokens(name)
    if split(tokens, RELATED)[1]:
        return _unknown(name)
    known = len(tokens) <= LONGEST and "," not in texts_of(tokens) and any(map(_is_variable, tokens))
    return name if known else ""


def wanted_point(question: str) -> str:
    """Return the names of the coordinates that a question asks for, as "x,y"; "" if it names none, or several."""
    found = {names.replace(" ", "") for names in POINT.findall(question)}
    return found.pop() if len(found) == 1 else ""


def _unknown(equation: str) -> str:
    """Return the only variable of an equation or inequality; "" if it is none, or one of several variables."""
    texts = [token.text for token in _tokens(equation)]
    names = {token.text for token in _tokens(equation) if _is_variable(token)}
    return names.pop() if len(names) == 1 and not SOLVED.isdisjoint(texts) and "_" not in texts else ""


def _is_variable(token: Token) -> bool:
    return (token.kind == "symbol" and token.text not in "ei") or token.text in SYMBOLS


def _tokens(text: str) -> list[Token]:
    try:
        return tokenize(text)
    except NotationError:
        return []
