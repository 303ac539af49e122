r"""Decide whether an answer has a form that counts: not copied from the question, and evaluated like the gold answer.

`\tan 60^\circ` equals \sqrt{3}, but it does not answer "Compute $\tan 60^\circ$." So an equal answer is unfinished
if it

* stands in the question, in any order of its parts, and is not written like the gold answer: `\sqrt{180}` for
  $6\sqrt{5}$ if $\sqrt{180}$ is to be simplified, `0.125` if it is to become a fraction;
* lacks the form that the question names and the gold answer has (`named_form.py`);
* applies an operation that the gold answer does not apply: a sum, product, integral or limit over an index; if the gold
  answer has no variables, also any other function; if it is a number, also a root, a sum or a product; and if it is a
  whole number, also a fraction bar. Powers and products with a power (scientific notation), mixed numbers, and
  fractions, reduced or not, are finished.

The check only looks at tokens, so it takes a fraction of a millisecond.
"""

import operator
import re
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import accumulate

from grpo_jax.rewards.mathematics import expression, reading
from grpo_jax.rewards.mathematics.answer import Answer, Choice, Words
from grpo_jax.rewards.mathematics.brackets import Tokens, depth_of, split, texts_of
from grpo_jax.rewards.mathematics.equations import REMAINDERS
from grpo_jax.rewards.mathematics.formula import Formula, without_unit
from grpo_jax.rewards.mathematics.named_form import has_named_form, names_equation
from grpo_jax.rewards.mathematics.notation import NotationError, Token, tokenize
from grpo_jax.rewards.mathematics.options import chosen
from grpo_jax.rewards.mathematics.outcome import PLAIN, formulas
from grpo_jax.rewards.mathematics.sets import ORDERED
from grpo_jax.rewards.mathematics.vectors import components
from grpo_jax.rewards.mathematics.work import TooLargeError, limited

# The kind of operation that each sign applies. Signs of one kind may replace each other: a sine, a cosine.
OVER_AN_INDEX = dict.fromkeys(
    ("\\sum", "\\prod", "\\int", "\\iint", "\\iiint", "\\oint", "\\lim", "\\limsup", "\\liminf", "\\det", "vmatrix"),
    "index",
)
FUNCTIONS: Mapping[str, str] = {
    **{name: "trigonometric" for name in expression.FUNCTIONS if name not in ("\\ln", "\\log", "\\exp")},
    **dict.fromkeys(("\\ln", "\\log", "\\lg"), "logarithm"),
    **dict.fromkeys(("!", "\\binom", "\\choose", "choose"), "combinatorial"),
    **dict.fromkeys(("\\max", "\\min", "\\gcd", "\\lcm", "lcm"), "of a list"),
    **dict.fromkeys(("\\lfloor", "\\lceil"), "rounding"),
    **dict.fromkeys(("\\bmod", "\\mod"), "remainder"),  # \pmod is a condition
    **OVER_AN_INDEX,
}
ARITHMETIC = {"\\sqrt": "root", "\\frac": "quotient", "/": "quotient"}  # and "sum" and "product", by their places
ANY_FUNCTION = frozenset((*FUNCTIONS.values(), "absolute"))  # |x|
WRITTEN_OUT = ANY_FUNCTION | {*ARITHMETIC.values(), "sum", "product", "complex fraction"}

# Tokens that make no difference, and tokens that mean the same.
GROUPING = frozenset("{}()[],;.?") | {"\\{", "\\}", ""}
BETWEEN = frozenset(("+", "\\cdot", ",", ";", ".", "?"))  # two expressions
SAME = {"\\frac": "/", "\\choose": "\\binom", ":": "/"}
NEUTRAL = frozenset((("+", "0"), ("-", "0"), ("\\cdot", "1"), ("1", "\\cdot"), ("^", "1"), ("^", "\\circ")))
CONDITIONS = REMAINDERS - FUNCTIONS.keys()  # (mod 7), where \\bmod would still be to be computed
EQUATED = ("=", "\\approx", "\\equiv")
RELATIONS = ORDERED | {"="}
SEPARATORS = RELATIONS | {",", ";", "and", "or", "&", "\\\\", "\\cup"}
NAMING = frozenset(("_", "(", ")", "{", "}", "'", "\\angle", "\\triangle")) | expression.SYMBOLS.keys()
ENDS = frozenset((")", "]", "}", "!", "%", "\\%", "\\}", "\\pi", "\\infty", "|")) | expression.SYMBOLS.keys()
NUMBER = re.compile(r"\.?\d")
E_NOTATION = re.compile(r"(?P<number>[\d.]+)[eE](?P<minus>-?)\+?0*(?P<exponent>\d+)")
TWO_ARGUMENTS = frozenset(("\\frac", "\\binom"))
NAMED = (Choice, Words)  # answers that can only be named, as the question names them
PUNCTUATION = re.compile(r"[^\w\s\\$%^{}()\[\]+*/<>=|!:;,.'&\"?°-]")  # of prose, and in no answer


def is_finished(question: str, gold: str, answer: str) -> bool:
    """Return whether an answer that equals the gold one has a form that counts; see the module."""
    if gold.strip() == answer.strip() or (PLAIN.fullmatch(gold) and PLAIN.fullmatch(answer)):  # most pairs
        return True
    option = chosen(question, gold)
    if option is not None and option.value:
        gold = option.value
    try:
        ours: Tokens = tokenize(gold)
        theirs: Tokens = tokenize(answer)
    except NotationError:
        return True  # the same text
    if not ("=" in texts_of(ours) and names_equation(question)):
        equated = "=" in texts_of(ours)
        ours = _value(ours, of_equation=True)
        equated &= _has_variables(ours)
        theirs = _value(theirs, of_equation=equated)
    place = next((place for place, token in enumerate(theirs) if token.text in CONDITIONS), len(theirs))
    theirs = theirs[: place - (place < len(theirs) and theirs[place - 1].text == "(")]
    form, given = (_form(tokens) for tokens in (ours, theirs))
    if _same_parts(form, given) or not given:
        return True
    try:
        with limited():
            right = reading.read(ours)
        with limited():
            equal = reading.read(theirs)
    except (TooLargeError, RecursionError):
        return True
    if isinstance(right, NAMED) or isinstance(equal, NAMED) or _as_written(right, equal):
        return True
    if (option and texts_of(theirs) == (option.letter,)) or (isinstance(equal, Formula) and components(equal, 3)):
        return True
    value = equal.value if isinstance(equal, Formula) else None
    if _stands_in(given, value, _prose(question)) and not (len(given) == 1 and given[0] in form):
        return False
    if not has_named_form(question, right, equal):
        return False
    if not CONDITIONS.isdisjoint(texts_of(ours)) and _has_variables(theirs):
        return True  # 12k + 5 for 5 (mod 12)
    applied, of_gold = (_operations(without_unit(tokens)[0]) for tokens in (theirs, ours))
    return not (applied - of_gold) & _unfinished(right)


def _as_written(gold: Answer, answer: Answer) -> bool:
    """Return whether both are written with the same numbers and signs, with or without a unit."""
    if not (isinstance(gold, Formula) and isinstance(answer, Formula)):
        return False
    numbers = (sorted(filter(NUMBER.match, one.tokens)) for one in (gold, answer))
    return gold.node is not None and gold.node == answer.node and operator.eq(*numbers)


def _unfinished(gold: Answer) -> frozenset[str]:
    """Return the operations that an answer must not apply unless the gold answer does."""
    parts = list(formulas(gold))
    if any(part.variables for part in parts):
        return frozenset(OVER_AN_INDEX.values())
    if not parts or any(part.value is None for part in parts):
        return ANY_FUNCTION
    whole = all(part.value is not None and part.value.denominator == 1 and part.unit is None for part in parts)
    return WRITTEN_OUT if whole else WRITTEN_OUT - {"quotient"}


def _operations(tokens: Tokens) -> set[str]:
    """Return the kinds of operations that tokens apply."""
    found = {kind for token in tokens if (kind := FUNCTIONS.get(token.text) or ARITHMETIC.get(token.text))}
    if sum(token.text == "|" for token in tokens) > 1 and ORDERED.isdisjoint(texts_of(tokens)):  # |x| < 2 is solved
        found.add("absolute")
    before: Token | None = None
    bars = decimals = 0  # of one value
    ends = ENDS if sum(token.text == "|" for token in tokens) % 2 == 0 else ENDS - {"|"}  # of \\{x | x > 1\\}
    for place, token in enumerate(tokens):
        ended = before is not None and (before.kind in ("number", "symbol") or before.text in ends)
        if token.text in SEPARATORS:
            bars = decimals = 0
        of_value = before is not None and (before.kind == "number" or before.text in (")", "}"))  # not of a unit
        bars += token.text == "\\frac" or (token.text == "/" and of_value)
        decimals += token.kind == "number" and "." in token.text
        if bars > 1 or (bars and decimals):
            found.add("complex fraction")
        if token.text in ("+", "-", "\\pm", "\\mp") and ended:
            found.add("sum")
        if token.text == "(" and of_value:
            found.add("product")
        if token.text == "\\cdot" and texts_of(tokens[place + 2 : place + 3]) != ("^",):  # 3 \cdot 10^5 is a number
            found.add("product")
        before = token
    return found


def _value(tokens: Tokens, of_equation: bool) -> Tokens:
    r"""Return the tokens of the final value: the end of `x = 5`, `A = \pi r^2 = 9\pi`, `m + n = 113`.

    For a list, and for an answer that is an equation between two expressions, these are all tokens.
    """
    items, found = split(tokens, (",", ";", "or", "and"))
    if found:
        values = (_value(item, of_equation) for item in items)
        return [token for value in values for token in (*value, Token("sign", ","))][:-1]
    parts, signs = split(tokens, EQUATED)
    exact = [part for part, sign in zip(parts, ("=", *signs), strict=True) if sign != "\\approx" and part]
    known = [part for part in exact if not _has_variables(part)]
    if not known:  # nothing but a rounded value
        exact = [part for part in parts if part]
        known = [part for part in exact if not _has_variables(part)]
    if len(exact) < 2 and not signs:
        return tokens
    if exact and (_is_name(exact[0]) or len(known) == len(exact)):
        return exact[-1]
    return tokens if of_equation or not known else known[-1]


def _has_variables(tokens: Tokens) -> bool:
    return any(
        (token.kind == "symbol" and token.text not in expression.CONSTANTS) or token.text in expression.SYMBOLS
        for token in tokens
    )


def _is_name(tokens: Tokens) -> bool:
    named = any(token.kind in ("symbol", "word") or token.text in expression.SYMBOLS for token in tokens)
    return named and all(token.kind in ("symbol", "word") or token.text in NAMING for token in tokens)


def _form(tokens: Tokens) -> list[str]:
    """Return the numbers, names and signs of tokens, without those that make no difference."""
    return [text for text, _ in _placed(tokens)]


def _placed(tokens: Tokens) -> list[tuple[str, int]]:
    """Return the parts of a form, and the places of their tokens."""
    kept: list[tuple[str, int]] = []
    for place, text in _spelt(tokens):
        if text in GROUPING:
            continue
        if kept and (kept[-1][0], text) in NEUTRAL:
            kept.pop()
        else:
            kept.append((text, place))
    return [(text, place) for text, place in kept if text not in ("\\cdot", "+")]  # -a+b is b-a


def _spelt(tokens: Tokens) -> Iterator[tuple[int, str]]:
    before = ""
    for place, token in enumerate(tokens):
        text = token.text.replace(",", "") if token.kind == "number" else token.text
        if before in TWO_ARGUMENTS and text.isdigit():  # \\frac12
            parts = [text[:1], text[1:2], text[2:]]
        elif token.kind == "number" and (scientific := E_NOTATION.fullmatch(text)):  # 3e8 is 3 \\cdot 10^8
            parts = [_plain(scientific["number"]), "\\cdot", "10", "^", scientific["minus"], scientific["exponent"]]
        elif token.kind == "number":
            parts = [_plain(text)]
        else:
            parts = [SAME.get(text, text.casefold() if token.kind == "word" else text)]
        yield from ((place, part) for part in parts)
        before = text


def _plain(number: str) -> str:
    """Return a decimal without leading and trailing zeros."""
    decimal = "." in number and number.replace(".", "").isdigit()
    return (number.strip("0").removesuffix(".") or "0") if decimal else number


def _prose(text: str) -> list[Token]:
    """Return the tokens of a question, without words that are not notation."""
    text = PUNCTUATION.sub(" ", text)
    try:
        return tokenize(text)
    except NotationError:
        return [token for word in text.split() for token in _of_word(word)]


def _of_word(word: str) -> Iterator[Token]:
    try:
        yield from tokenize(word)
    except NotationError:
        return


def _stands_in(given: Sequence[str], value: Fraction | None, question: Tokens) -> bool:
    r"""Return whether a contiguous piece of the question has exactly these parts, in any order on each side of a sign.

    A piece of another value is another expression that happens to have the same parts: 4} + \frac{3}{2 is not
    2\frac{3}{4}. 10^8 does not stand in 3 \cdot 10^8 either, which is one number.
    """
    match [text for text in given if NUMBER.match(text)]:
        case ["10", _]:
            question = [token for place, token in enumerate(question) if not _is_scaling(question, place)]
    placed = _placed(question)
    parts = [text for text, _ in placed]
    places = [-1, *(place for _, place in placed), len(question)]
    sums = [0, *accumulate(map(hash, parts))]  # equal pieces have equal sums
    wanted, length = sum(map(hash, given)), len(given)

    def stretch(start: int) -> Tokens:
        before, first = places[start : start + 2]
        last, after = places[start + length : start + length + 2]
        return question[min(before + 1, first) : max(last + 1, after)]  # several parts may be of one token

    return any(
        sums[start + length] - sums[start] == wanted
        and _same_parts(given, parts[start : start + length])
        and (value is None or _value_of(stretch(start)) in (None, value))
        for start in range(len(parts) - length + 1)
    )


def _value_of(tokens: Tokens) -> Fraction | None:
    """Return the value of a piece of tokens, ignoring brackets whose partners are outside; None if it is unknown."""
    opened: list[int] = []
    single: set[int] = set()
    for place, token in enumerate(tokens):
        if depth_of(token) > 0:
            opened.append(place)
        elif depth_of(token) < 0:
            single |= set() if opened else {place}
            del opened[-1:]
    kept = [token for place, token in enumerate(tokens) if place not in {*single, *opened}]
    ends = [place for place, token in enumerate(kept) if token.text not in BETWEEN]
    try:
        with limited():
            answer = reading.read(kept[ends[0] : ends[-1] + 1])
    except (TooLargeError, RecursionError):
        return None
    return answer.value if isinstance(answer, Formula) else None


def _is_scaling(tokens: Tokens, place: int) -> bool:
    r"""Return whether a token is the 10 of a number such as 3 \cdot 10^8, but not of 1 \cdot 10^8."""
    match tokens[max(place - 2, 0) : place + 2]:
        case [Token("number", factor), Token(text="\\cdot"), Token(text="10"), Token(text="^")]:
            return _plain(factor) != "1"
    return False


def _same_parts(form: Sequence[str], other: Sequence[str]) -> bool:
    """Return whether two forms have the same parts in any order; in a relation, on each side or with sides swapped."""
    sides, others = _sides(form), _sides(other)
    return sides in (others, others[::-1])


def _sides(form: Sequence[str]) -> list[list[str]]:
    """Return the parts on each side of the signs that relate expressions, sorted, and those signs."""
    sides: list[list[str]] = [[]]
    for text in form:
        if text in RELATIONS:
            sides += [[text], []]
        else:
            sides[-1].append(text)
    return [sorted(side) for side in sides]
