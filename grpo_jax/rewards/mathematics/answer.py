r"""What an answer is: a number with or without a unit, an expression, words, a tuple, set or interval, an equation.

This file only takes answers apart; `compare.py` says which are equal.
"""

import itertools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TypeAlias

from grpo_jax.rewards.mathematics import units
from grpo_jax.rewards.mathematics.brackets import Tokens, closing_place, split, stripped, texts_of
from grpo_jax.rewards.mathematics.expression import Node
from grpo_jax.rewards.mathematics.formula import Formula, formula
from grpo_jax.rewards.mathematics.naming import is_condition, is_name, name_of
from grpo_jax.rewards.mathematics.notation import OPENING, Token
from grpo_jax.rewards.mathematics.work import TooLargeError, spend

MAX_TOKENS = 1000
MAX_ITEMS = 64  # of a tuple, list or set
MAX_LEVELS = 20  # answers within answers
MAX_CONDITION = 20  # tokens


@dataclass(frozen=True)
class Words:
    """A text, compared regardless of case and white space."""

    text: str


@dataclass(frozen=True)
class Choice:
    """A letter of multiple choice that is written as one: (A), A., (A) 12; and the value behind it."""

    letter: str
    value: "Answer | None" = None


@dataclass(frozen=True)
class Items:
    """A tuple, interval, list, set, matrix or union; the brackets tell which (`compare.py` has what they mean)."""

    opening: str
    closing: str
    items: tuple["Answer", ...]


@dataclass(frozen=True)
class Statement:
    """`x = 5`, or a chain `x = 2 + 3 = 5` of `values`; `tokens` are all of it."""

    name: tuple[str, ...]  # () for a chain without a name
    values: tuple["Answer", ...]
    relation: "Relation | None"  # the same as an equation, if it is one


@dataclass(frozen=True)
class Relation:
    """Two expressions and the sign between them: =, \\ne, \\le, <. Greater-than is turned round."""

    sign: str
    left: Formula
    right: Formula
    value: "Answer | None" = None  # of `m + n = 113`, should 113 be all that was asked for


@dataclass(frozen=True)
class General:
    """What holds for all whole values of a letter, as it is written and with the letter k."""

    plain: "Answer"
    of_k: "Answer"


Answer: TypeAlias = Formula | Words | Choice | Items | Statement | Relation | General

# What stands in the place of brackets. A bare list is in any order unless it is a sequence; OPEN is an open interval
# that can be nothing else (1 < x < 2), while (1, 2) may be a point.
BARE, SEQUENCE, ALTERNATIVES, UNION, OPEN = "list", "sequence", "alternatives", "union", "open"
NAMED = "named"  # x = 1, y = 2, sorted by names
MATRIX, DETERMINANT, RATIO, ROWS, PIECE = "matrix", "determinant", ":", "rows", "piece"

LESS, MORE = {"<": "<", "\\le": "\\le"}, {">": "<", "\\ge": "\\le"}
SET_NAMES = frozenset(("\\emptyset", "\\mathbb", "\\setminus"))
LISTED = frozenset((",", ";", "and", "or", "&"))
EQUATED = frozenset(("=", "\\approx", "\\in", "\\equiv"))
ORDERED = frozenset((*LESS, *MORE, "\\ne"))
SIGNED = frozenset(("\\pm", "\\mp"))
CONDITIONAL = frozenset(("\\in", "\\forall", "for", "where", "integer", "integers", "when"))
INFINITE = Formula(("\\infty",), Node("constant", name="infinity"), None)
MINUS_INFINITE = Formula(("-", "\\infty"), Node("negative", (Node("constant", name="infinity"),)), None)
EMPTY_SET, REALS = Items(r"\{", r"\}", ()), Items("(", ")", (MINUS_INFINITE, INFINITE))
NAMED_SETS: dict[tuple[str, ...], Items] = {
    ("\\emptyset",): EMPTY_SET,
    ("\\mathbb", "R"): REALS,
    ("\\mathbb", "{", "R", "}"): REALS,
}
ALL_REALS = re.compile(
    r"(x is )?(all|any|every)( the)? reals?( numbers?| values?)?( of x| x)?|(the )?(set of )?(all )?real numbers?"
)
NONE_AT_ALL = re.compile(r"no( real)? solutions?( exists?)?|(the )?empty set|there (is|are) no( real)? solutions?")
CHOICES = frozenset("ABCDEFGHIJabcdefghij")
MATRICES = {
    **dict.fromkeys(("matrix", "pmatrix", "bmatrix", "Bmatrix", "array", "smallmatrix"), MATRIX),
    **dict.fromkeys(
        ("cases", "dcases", "rcases", "aligned", "align", "gathered", "split", "alignedat", "eqnarray"), ROWS
    ),
    "vmatrix": DETERMINANT,
}


def read(tokens: Tokens, level: int = 0) -> Answer:
    """The answer that tokens say.

    Raises:
      TooLargeError: if it has too many parts, or numbers that are too large.
    """
    if len(tokens) > MAX_TOKENS or level > MAX_LEVELS:
        raise TooLargeError("an answer of too many parts")
    spend(1 + len(tokens))
    tokens = stripped(tokens)
    texts = texts_of(tokens)
    for rule, signs in RULES:
        if not signs.isdisjoint(texts):
            answer = rule(tokens, level + 1)
            if answer is not None:
                return answer
    return _words(tokens) or formula(tokens)


def _matrix(tokens: Tokens, level: int) -> Answer | None:
    begin = next(place for place, token in enumerate(tokens) if token.text == "\\begin")
    if begin:
        return _scaled(tokens[:begin], _matrix(tokens[begin:], level))
    if len(tokens) < 8 or tokens[0].text != "\\begin" or closing_place(tokens) != len(tokens) - 4:
        return None
    kind = MATRICES.get(tokens[2].text)
    if kind is None:
        return None
    inside = tokens[4:-4]
    if tokens[2].text == "array" and inside and inside[0].text == "{":
        inside = inside[closing_place(inside) + 1 :]
    rows = [split(row, ("&",))[0] for row in split(inside, ("\\\\",))[0] if row]
    if kind == ROWS and all(_is_piece(cells) for cells in rows):
        pieces = [
            [[token for token in cell if token.text not in (",", "if", "for")] for cell in cells] for cells in rows
        ]
        return _items(
            UNION, UNION, [Items(PIECE, PIECE, tuple(read(cell, level) for cell in cells)) for cells in pieces]
        )
    if kind == ROWS or any(EQUATED & set(texts_of(cell)) for cells in rows for cell in cells):
        return _system([[token for cell in cells for token in cell] for cells in rows], level)
    return _items(kind, kind, [Items(kind, kind, tuple(read(cell, level) for cell in cells)) for cells in rows])


def _scaled(factor: Tokens, matrix: Answer | None) -> Items | None:
    """The product of a number or expression and a matrix, multiplied out."""
    if not (isinstance(matrix, Items) and matrix.opening == MATRIX):
        return None
    scalar = formula(factor[:-1] if factor[-1].text in ("\\cdot", "\\times", "*") else factor)
    if scalar.node is None or scalar.unit is not None:
        return None
    rows = [
        [_product(scalar, cell) for cell in row.items] for row in matrix.items if isinstance(row, Items) and row.items
    ]
    if len(rows) < len(matrix.items) or any(cell is None for row in rows for cell in row):
        return None
    return _items(MATRIX, MATRIX, [Items(MATRIX, MATRIX, tuple(cell for cell in row if cell)) for row in rows])


def _product(scalar: Formula, cell: Answer) -> Formula | None:
    if not isinstance(cell, Formula) or cell.node is None or scalar.node is None or cell.unit is not None:
        return None
    value = None if scalar.value is None or cell.value is None else scalar.value * cell.value
    return Formula((*scalar.tokens, *cell.tokens), Node("product", (scalar.node, cell.node)), value)


def _is_piece(cells: Sequence[Tokens]) -> bool:
    """Whether a row is a value and when a function has it."""
    return len(cells) == 2 and EQUATED.isdisjoint(texts_of(cells[0])) and (
        not (ORDERED | EQUATED).isdisjoint(texts_of(cells[1])) or any(token.kind == "word" for token in cells[1])
    ) and cells[1][0].text not in EQUATED  # fmt: skip


def _system(rows: Sequence[Tokens], level: int) -> Answer | None:
    """The list of several equations, or one that goes on for several rows."""
    equations: list[Tokens] = []
    for row in rows:
        if equations and row and row[0].text in EQUATED:
            equations[-1] = [*equations[-1], *row]
        else:
            equations.append(row[:-1] if row and row[-1].text in LISTED else row)
    if len(equations) == 1:
        return read(equations[0], level)
    return _listed([read(equation, level) for equation in equations], frozenset())


def _items(opening: str, closing: str, items: Sequence[Answer]) -> Items:
    if len(items) > MAX_ITEMS:
        raise TooLargeError("an answer of too many parts")
    return Items(opening, closing, tuple(items))


def _named_set(tokens: Tokens, level: int) -> Answer | None:
    r"""The empty set, the real numbers, or those without some: \mathbb{R} \setminus \{1, 2\}."""
    whole = NAMED_SETS.get(texts_of(tokens))
    if whole is not None:
        return whole
    parts, found = split(tokens, ("\\setminus", "-"))
    if len(found) != 1 or NAMED_SETS.get(texts_of(parts[0])) != REALS or not parts[1]:
        return None
    without = read(parts[1], level)
    if not isinstance(without, Items):
        return None
    if without.opening in "([" and without.closing in ")]" and len(without.items) == 2:
        below = Items("(", ")" if without.opening == "[" else "]", (MINUS_INFINITE, without.items[0]))
        above = Items("(" if without.closing == "]" else "[", ")", (without.items[1], INFINITE))
        return _items(UNION, UNION, [below, above])
    return _all_but(without.items) if without.opening == r"\{" else None


def _all_reals(tokens: Tokens, level: int) -> Answer | None:
    """All real numbers, or all except some, in words."""
    place = next((place for place, token in enumerate(tokens) if token.text.lower() in ("except", "but")), len(tokens))
    if not ALL_REALS.fullmatch(" ".join(texts_of(tokens[:place])).casefold()):
        return None
    rest = [token for token in tokens[place + 1 :] if token.kind != "word" or token.text in LISTED]
    if not rest:
        return REALS if place == len(tokens) else None
    without = read(rest, level)
    points = without.items if isinstance(without, Items) else (without,)
    return _all_but([point.values[-1] if isinstance(point, Statement) else point for point in points])


def _all_but(points: Sequence[Answer]) -> Answer | None:
    """The real numbers without some, as intervals; None if those are not sorted easily."""
    if len(points) > 1:
        if not all(isinstance(point, Formula) and point.value is not None for point in points):
            return None
        points = sorted(points, key=lambda point: point.value)  # type: ignore[union-attr, arg-type, return-value]
    ends = [MINUS_INFINITE, *points, INFINITE]
    return _items(UNION, UNION, [Items("(", ")", pair) for pair in itertools.pairwise(ends)])


def _union(tokens: Tokens, level: int) -> Answer | None:
    parts, found = split(tokens, ("\\cup",))
    return _items(UNION, UNION, [read(part, level) for part in parts]) if found else None


def _conditioned(tokens: Tokens, level: int) -> Answer | None:
    r"""What holds for all x, or for k \in Z, without saying so."""
    for place in range(max(1, len(tokens) - MAX_CONDITION), len(tokens)):
        if not is_condition(tokens[place:]) or tokens[place - 1].text in ("for", "all", "not", "no"):
            continue
        bound = {token.text for token in tokens[place:] if token.kind == "symbol" and token.text not in "ZNRQ"}
        texts = {token.text for token in tokens[place:]}
        kept = tokens[:place]
        while kept and kept[-1].text in (",", ";", ":"):
            kept = kept[:-1]
        if not kept:
            return None
        plain = read(kept, level)
        if len(bound) != 1 or texts.isdisjoint(("Z", "N", "integer", "integers")):
            return plain
        return General(
            plain, read([token._replace(text="k") if token.text in bound else token for token in kept], level)
        )
    return None


def _list(tokens: Tokens, level: int) -> Answer | None:
    parts, found = split(tokens, LISTED)
    parts = [part for part in parts if part]
    if not found or len(parts) < 2:
        return None
    kind = SEQUENCE if any(texts_of(part) == ("\\dots",) for part in parts) else BARE
    return _listed([read(part, level) for part in parts], frozenset(found), kind)


def _of_either_sign(item: Answer) -> Sequence[Answer]:
    r"""Both numbers of \pm 2; other answers alone."""
    value = item.values[0] if isinstance(item, Statement) and len(item.values) == 1 else item
    if not isinstance(value, Items) or value.opening != ALTERNATIVES or len(value.items) != 2:
        return (item,)
    if isinstance(item, Statement):
        return [Statement(item.name, (one,), None) for one in value.items]
    return value.items


def _listed(items: list[Answer], found: frozenset[str], kind: str = BARE) -> Answer:
    """A list of answers, given what they are separated by."""
    items = [one for item in items for one in _of_either_sign(item)]
    if "or" in found and all(_is_interval(item) for item in items):
        return _items(UNION, UNION, items)
    both = _intersection(items) if "or" not in found else None
    if both is not None:
        return both
    if "or" in found:
        kind = ALTERNATIVES
    named = {item.name: item for item in items if isinstance(item, Statement) and item.name}
    if len(named) == len(items):  # x = 1, y = 2 in any order; but x_1 = 1, x_2 = 2 are two x
        items = [named[name] for name in sorted(named)]
        kind = ALTERNATIVES if len({name[0] for name in named}) == 1 and all("_" in name for name in named) else NAMED
    elif len(named) == 1 and all(isinstance(item, Statement) for item in items):  # x = 1, x = 2
        kind = ALTERNATIVES
    return _items(kind, kind, items)


def _intersection(items: list[Answer]) -> Answer | None:
    r"""What `x > 1, x < 3` is, or `x \ne 1, x \ne 2`, or `x \ne 1, 2`; None if they are no sets of one name."""
    first = items[0]
    if not isinstance(first, Statement):
        return None
    sets: list[Items] = []
    points: list[Answer] = []
    for item in items:
        inner = item.values[0] if isinstance(item, Statement) and item.name == first.name else item
        if isinstance(inner, Items) and inner is not item:
            sets += [inner] if inner != REALS else []
        elif isinstance(inner, Formula) and inner is item:
            points.append(inner)
        else:
            return None
    if sets and all(one.opening == UNION and len(one.items) == 2 for one in sets):
        holes = [inside.items[1] for one in sets for inside in one.items[:1] if isinstance(inside, Items)]
        rest = _all_but([*holes, *points])
        return rest and Statement(first.name, (rest,), None)
    lower = [one for one in sets if one.items[1:] == (INFINITE,)]
    upper = [one for one in sets if one.items[:1] == (MINUS_INFINITE,)]
    if points or len(sets) != 2 or len(lower) != 1 or len(upper) != 1:
        return None
    interval = _interval(lower[0].opening, upper[0].closing, lower[0].items[0], upper[0].items[1])
    return Statement(first.name, (interval,), None)


def _interval(opening: str, closing: str, low: Answer, high: Answer) -> Items:
    if (opening, closing) == ("(", ")") and low != MINUS_INFINITE and high != INFINITE:
        opening = closing = OPEN
    return Items(opening, closing, (low, high))


def _is_interval(answer: Answer) -> bool:
    if isinstance(answer, Statement):
        return all(_is_interval(value) for value in answer.values)
    return isinstance(answer, Items) and (answer.opening in ("(", "[", OPEN, UNION)) and len(answer.items) == 2


def _equation(tokens: Tokens, level: int) -> Answer | None:
    parts, found = split(tokens, EQUATED)
    if found and not parts[0] and found[0] in ("=", "\\approx"):
        parts, found = parts[1:], found[1:]
        if not found:
            return read(parts[0], level)
    if not found or not all(parts):
        return None
    if "\\equiv" in found and not {"\\pmod", "\\bmod", "\\mod", "mod"}.isdisjoint(texts_of(tokens)):
        return Words(" ".join(text for text in texts_of(tokens) if text not in ("{", "}", "(", ")")))
    if "\\approx" in found:
        parts, found = _unrounded(parts, found)
        if not found:
            return read(parts[0], level)
    if is_name(parts[0]):
        name, values = name_of(parts[0]), parts[1:]
    elif len(parts) == 2 and is_name(parts[1]):
        name, values = name_of(parts[1]), parts[:1]
    elif len(parts) == 2 and any(token.kind == "symbol" and token.text not in "ei" for token in tokens):
        return Relation("=", formula(parts[0]), formula(parts[1]), read(parts[1], level))
    else:
        name, values = (), parts
    relation = None
    if len(parts) == 2 and found in (["="], ["\\equiv"]) and not any(token.kind == "word" for token in tokens):
        relation = Relation("=", formula(parts[0]), formula(parts[1]))
    return Statement(name, tuple(read(value, level) for value in values), relation)


def _unrounded(parts: list[Tokens], found: list[str]) -> tuple[list[Tokens], list[str]]:
    """A chain without what is rounded in it, which is not the answer, unless it is the only value: x \\approx 3.14."""
    kept = found.index("\\approx") + 1
    if is_name(parts[kept - 1]) or formula(parts[kept - 1]).variables:
        kept += 1
    return parts[:kept], found[: kept - 1]


def _inequality(tokens: Tokens, level: int) -> Answer | None:
    parts, found = split(tokens, ORDERED)
    if not found or not all(parts):
        return None
    if found == ["\\ne"]:
        if is_name(parts[0]) and not is_name(parts[1]):
            rest = _all_but(_of_either_sign(read(parts[1], level)))
            return rest and Statement(name_of(parts[0]), (rest,), None)
        return Relation("\\ne", formula(parts[0]), formula(parts[1]))
    if all(sign in MORE for sign in found):  # turned round
        parts, found = parts[::-1], [MORE[sign] for sign in found[::-1]]
    if not all(sign in LESS for sign in found) or len(parts) > 3:
        return formula(tokens)
    opening, closing = {"<": "(", "\\le": "["}, {"<": ")", "\\le": "]"}
    if len(parts) == 2:
        for bars, bound in ((0, 1), (1, 0)):
            ends = [texts_of(parts[bars])[place : place + 1] for place in (0, len(parts[bars]) - 1)]
            inside = parts[bars][1:-1]
            if ends == [("|",), ("|",)] and is_name(inside):
                minus = [Token("sign", "-"), Token("sign", "("), *parts[bound], Token("sign", ")")]
                low, high = read(minus, level), read(parts[bound], level)
                if bars == 0:
                    within = _interval(opening[found[0]], closing[found[0]], low, high)
                else:
                    below = Items("(", closing[found[0]], (MINUS_INFINITE, low))
                    within = _items(UNION, UNION, [below, Items(opening[found[0]], ")", (high, INFINITE))])
                return Statement(name_of(inside), (within,), None)
    names = [is_name(part) for part in parts]
    if names == [True, False]:
        interval = _interval("(", closing[found[0]], MINUS_INFINITE, read(parts[1], level))
    elif names == [False, True]:
        interval = _interval(opening[found[0]], ")", read(parts[0], level), INFINITE)
    elif names == [False, True, False]:
        interval = _interval(opening[found[0]], closing[found[1]], read(parts[0], level), read(parts[2], level))
    elif len(parts) == 2:
        return Relation(found[0], formula(parts[0]), formula(parts[1]))
    else:
        return formula(tokens)
    return Statement(name_of(parts[names.index(True)]), (interval,), None)


def _bracketed(tokens: Tokens, level: int) -> Answer | None:
    if len(tokens) < 2 or tokens[0].text not in OPENING or closing_place(tokens) != len(tokens) - 1:
        return None
    opening, closing, inside = tokens[0].text, tokens[-1].text, tokens[1:-1]
    if (opening, closing) == (r"\langle", r"\rangle"):
        opening, closing = "(", ")"
    if opening == r"\{":
        conditions, found = split(inside, ("|", ":"))
        if len(found) == 1 and is_name(conditions[0][:1]) and texts_of(conditions[0])[1:2] in ((), ("\\in",)):
            return read(conditions[1], level)
        if len(found) == 1 and conditions[1] and is_condition(conditions[1]):
            return read([*conditions[0], Token("sign", ","), *conditions[1]], level)
    parts, found = split(inside, (",", ";"))
    if (opening == r"\{" and closing == r"\}") or found:
        return _items(opening, closing, [read(part, level) for part in parts if part])
    if opening == "(" and closing == ")":
        return Choice(inside[0].text) if _is_letter(inside) else read(inside, level)
    if (opening, closing) != ("[", "]"):
        return None
    inner = read(inside, level)
    return inner if isinstance(inner, Items) and inner.opening == MATRIX else _items(opening, closing, [inner])


def _is_letter(tokens: Tokens) -> bool:
    return len(tokens) == 1 and tokens[0].text in CHOICES


def _choice(tokens: Tokens, level: int) -> Answer | None:
    r"""`(A)`, `A.`, `A: 12`, `(A) 12`, `Option A`; not `(A) or (B)`, and not `(A) is wrong`."""
    texts = texts_of(tokens)
    if len(tokens) > 1 and texts[0].lower() in ("option", "choice", "answer"):
        rest = tokens[2:] if texts[1] in (":", "is") else tokens[1:]
        if len(rest) == 1 and rest[0].text in CHOICES:
            return Choice(rest[0].text)
        inner = read(rest, level)
        return inner if isinstance(inner, Choice) else None
    if len(tokens) > 3 and _is_lettered(tokens):
        letter_text, rest = texts[1], tokens[3:]
        spaced = rest[0].spaced and rest[0].text not in ("+", "-", "^", "/", "\\cdot")
        if not spaced and rest[0].kind not in ("number", "word") and rest[0].text not in (":", "."):
            return None
    elif len(tokens) > 1 and texts[0] in CHOICES and texts[1] in (")", ".", ":"):
        letter_text, rest = texts[0], tokens[2:]
        if texts[1] != ")" and not texts[0].isupper():
            return None
    else:
        return None
    if rest and rest[0].text in (":", "."):
        rest = rest[1:]
    if any(_is_lettered(rest[place:]) for place in range(len(rest) - 2)) or (rest and rest[0].text in LISTED):
        return None
    value = read(rest, level) if rest else None
    if isinstance(value, Words) and any(not _is_option(token) for token in rest):
        return None
    return Choice(letter_text, value)


def _is_option(token: Token) -> bool:
    """Whether a word may be part of what is chosen; not of a sentence about the choice, as far as that can be told."""
    text = token.text.lower()
    return (
        token.kind in ("word", "symbol", "number") and text not in units.NEVER and not text.endswith(("s", "ed", "n"))
    )


def _is_lettered(tokens: Tokens) -> bool:
    """Whether tokens begin with the capital letter of a choice in brackets."""
    opening, letter, closing = texts_of(tokens[:3])
    return opening == "(" and closing == ")" and letter in CHOICES and letter.isupper()


def _ratio(tokens: Tokens, level: int) -> Answer | None:
    parts, found = split(tokens, (":", "to"))
    if not found or not all(parts):
        return None
    items = [read(part, level) for part in parts]
    if "to" in found and not all(isinstance(item, Formula) and item.node is not None for item in items):
        return None
    return _items(RATIO, RATIO, items)


def _plus_minus(tokens: Tokens, level: int) -> Answer | None:
    places = [place for place, token in enumerate(tokens) if token.text in SIGNED]
    if len(places) != 1:
        return None
    both = [[*tokens[: places[0]], Token("sign", sign), *tokens[places[0] + 1 :]] for sign in "+-"]
    return _items(ALTERNATIVES, ALTERNATIVES, [read(one, level) for one in both])


def _spelt_number(tokens: Tokens) -> Formula | None:
    """A whole number below 100 in words: twelve, twenty-one; or a number after a word for its sign: minus 7."""
    words = [token.text.casefold() for token in tokens if token.text != "-"]
    if len(tokens) > 1 and words[0] in ("minus", "negative"):
        positive = _spelt_number(tokens[1:]) or formula(tokens[1:])
        if positive.value is None or positive.value <= 0 or positive.unit is not None:
            return None
        return Formula(texts_of(tokens), Node("number", value=-positive.value), -positive.value)
    if len(words) == 2 and words[0] in TENS and 0 < ONES.get(words[1], 0) < 10:
        number = TENS[words[0]] + ONES[words[1]]
    elif len(words) == len(tokens) == 1 and words[0] in ONES | TENS:
        number = (ONES | TENS)[words[0]]
    else:
        return None
    return Formula(texts_of(tokens), Node("number", value=Fraction(number)), Fraction(number))


_ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
)
ONES = {word: number for number, word in enumerate(_ONES.split())}
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
TENS = {word: 10 * number for number, word in enumerate(_TENS.split(), 2)}


def _words(tokens: Tokens) -> Answer | None:
    """A text with words, unless they are the unit of a number; or capital letters, whose order matters."""
    if len(tokens) > 1 and all(token.kind == "symbol" and token.text.isupper() for token in tokens):
        return Words("".join(texts_of(tokens)).casefold())
    if texts_of(tokens) == ("\\dots",):
        return Words("...")
    if not any(token.kind == "word" for token in tokens):
        return None
    if spelt := _spelt_number(tokens):
        return spelt
    quantity = formula(tokens)
    if quantity.node:
        return quantity
    text = ARTICLE.sub("", " ".join(texts_of(tokens)).casefold())
    return EMPTY_SET if NONE_AT_ALL.fullmatch(text) else Words(text)


ARTICLE = re.compile(r"(?:it is )?(?:an?|the) (?=\w{2,})|it is ")  # an ellipse is "ellipse"; "a b" are two letters


def _marked(tokens: Tokens, level: int) -> Answer | None:
    """A gold answer of which the question said what it is, see `asked.py`."""
    if tokens[0].text not in MARKS:
        return None
    inner = read(tokens[1:], level)
    if isinstance(inner, Formula) and tokens[0].text == "\\number":
        return replace(inner, percent=False)
    if not isinstance(inner, Items):
        return inner
    if tokens[0].text == "\\interval":
        return _interval(inner.opening, inner.closing, *inner.items) if len(inner.items) == 2 else inner
    return Items(SEQUENCE, SEQUENCE, inner.items) if inner.opening == BARE else inner


MARKS = frozenset(("\\interval", "\\number", "\\ordered"))

# What an answer may be, in the order in which it is tried, and the signs of which it has at least one.
RULES: tuple[tuple[Callable[[Tokens, int], Answer | None], frozenset[str]], ...] = (
    (_marked, MARKS),
    (_named_set, SET_NAMES),
    (_all_reals, frozenset(("real", "reals", "Real", "Reals"))),
    (_choice, frozenset((")", ".", ":", "Option", "option", "Choice", "choice", "Answer", "answer"))),
    (_conditioned, CONDITIONAL),
    (_matrix, frozenset(("\\begin",))),
    (_union, frozenset(("\\cup",))),
    (_list, LISTED),
    (_equation, EQUATED),
    (_inequality, ORDERED),
    (_bracketed, OPENING),
    (_ratio, frozenset((":", "to"))),
    (_plus_minus, SIGNED),
)


def unreadable(answer: Answer) -> bool:
    """Whether a part of it is beyond every parser here."""
    if isinstance(answer, Formula):
        return not answer.readable
    if isinstance(answer, Relation):
        return unreadable(answer.left) or unreadable(answer.right)
    if isinstance(answer, General):
        return unreadable(answer.plain)
    parts = answer.items if isinstance(answer, Items) else answer.values if isinstance(answer, Statement) else ()
    return any(unreadable(part) for part in parts)
