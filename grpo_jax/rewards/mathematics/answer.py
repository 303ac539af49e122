r"""What an answer is: a number with or without a unit, an expression, words, a tuple, set or interval, an equation.

This file only takes answers apart; `compare.py` says which are equal.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from grpo_jax.rewards.mathematics import expression
from grpo_jax.rewards.mathematics.brackets import Tokens, closing_place, depth_of, split, texts_of
from grpo_jax.rewards.mathematics.expression import Node
from grpo_jax.rewards.mathematics.formula import Formula, formula
from grpo_jax.rewards.mathematics.notation import OPENING, Token
from grpo_jax.rewards.mathematics.work import TooLargeError, spend

MAX_TOKENS = 1000
MAX_ITEMS = 64  # of a tuple, list or set
MAX_LEVELS = 20  # answers within answers


@dataclass(frozen=True)
class Words:
    """A text, compared regardless of case and white space."""

    text: str


@dataclass(frozen=True)
class Choice:
    """A letter of multiple choice that is written as one: (A), A., (A) 12."""

    letter: str


@dataclass(frozen=True)
class Items:
    """A tuple, interval, list, set, matrix or union; the brackets tell which, see `UNORDERED`."""

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


Answer: TypeAlias = Formula | Words | Choice | Items | Statement | Relation

BARE, ALTERNATIVES, UNION, MATRIX, DETERMINANT, RATIO = "list", "alternatives", "union", "matrix", "determinant", ":"
UNORDERED = frozenset((r"\{", ALTERNATIVES, UNION))

LESS, MORE = {"<": "<", "\\le": "\\le"}, {">": "<", "\\ge": "\\le"}
SET_NAMES = frozenset(("\\emptyset", "\\phi", "\\mathbb"))
LISTED = frozenset((",", ";", "and", "or", "&"))
EQUATED = frozenset(("=", "\\approx", "\\in", "\\equiv"))
ORDERED = frozenset((*LESS, *MORE, "\\ne"))
SIGNED = frozenset(("\\pm", "\\mp"))
INFINITE = Formula(("\\infty",), Node("constant", name="infinity"), None)
MINUS_INFINITE = Formula(("-", "\\infty"), Node("negative", (Node("constant", name="infinity"),)), None)
EMPTY_SET, REALS = Items(r"\{", r"\}", ()), Items("(", ")", (MINUS_INFINITE, INFINITE))
NAMED_SETS: dict[tuple[str, ...], Items] = {
    ("\\emptyset",): EMPTY_SET,
    ("\\phi",): EMPTY_SET,
    ("\\mathbb", "R"): REALS,
    ("\\mathbb", "{", "R", "}"): REALS,
}
CHOICES = frozenset("ABCDEFGHIJabcdefghij")
MATRICES = {
    **dict.fromkeys(("matrix", "pmatrix", "bmatrix", "Bmatrix", "array", "smallmatrix"), MATRIX),
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
    tokens = _stripped(tokens)
    texts = texts_of(tokens)
    for rule, signs in RULES:
        if not signs.isdisjoint(texts):
            answer = rule(tokens, level + 1)
            if answer is not None:
                return answer
    return _words(tokens) or formula(tokens)


def _stripped(tokens: Tokens) -> Tokens:
    while tokens and tokens[-1].text in (".", ",", ";", "?"):
        tokens = tokens[:-1]
    while tokens and tokens[0].text == "{" and closing_place(tokens) == len(tokens) - 1:
        tokens = tokens[1:-1]
    return tokens


def _matrix(tokens: Tokens, level: int) -> Answer | None:
    if len(tokens) < 8 or tokens[0].text != "\\begin" or closing_place(tokens) != len(tokens) - 4:
        return None
    kind = MATRICES.get(tokens[2].text)
    if kind is None:
        return None
    inside = tokens[4:-4]
    if tokens[2].text == "array" and inside and inside[0].text == "{":
        inside = inside[closing_place(inside) + 1 :]
    rows = [row for row in split(inside, ("\\\\",))[0] if row]
    return _items(
        kind, kind, [Items(kind, kind, tuple(read(cell, level) for cell in split(row, ("&",))[0])) for row in rows]
    )


def _items(opening: str, closing: str, items: Sequence[Answer]) -> Items:
    if len(items) > MAX_ITEMS:
        raise TooLargeError("an answer of too many parts")
    return Items(opening, closing, tuple(items))


def _union(tokens: Tokens, level: int) -> Answer | None:
    parts, found = split(tokens, ("\\cup",))
    return _items(UNION, UNION, [read(part, level) for part in parts]) if found else None


def _list(tokens: Tokens, level: int) -> Answer | None:
    parts, found = split(tokens, LISTED)
    parts = [part for part in parts if part]
    if not found or len(parts) < 2:
        return None
    items = [read(part, level) for part in parts]
    if "or" in found and all(_is_interval(item) for item in items):
        return _items(UNION, UNION, items)
    kind = ALTERNATIVES if "or" in found else BARE
    named = {item.name: item for item in items if isinstance(item, Statement) and item.name}
    if len(named) == len(items):  # x = 1, y = 2 in any order
        items = [named[name] for name in sorted(named)]
    elif len(named) == 1 and all(isinstance(item, Statement) for item in items):  # x = 1, x = 2
        kind = ALTERNATIVES
    return _items(kind, kind, items)


def _is_interval(answer: Answer) -> bool:
    if isinstance(answer, Statement):
        return all(_is_interval(value) for value in answer.values)
    return isinstance(answer, Items) and answer.opening in ("(", "[") and len(answer.items) == 2


def _equation(tokens: Tokens, level: int) -> Answer | None:
    parts, found = split(tokens, EQUATED)
    if found and not parts[0] and found[0] in ("=", "\\approx"):
        parts, found = parts[1:], found[1:]
        if not found:
            return read(parts[0], level)
    if not found or not all(parts):
        return None
    if "\\equiv" in found:
        return formula(tokens)
    if "\\approx" in found:
        parts, found = _unrounded(parts, found)
        if not found:
            return read(parts[0], level)
    if _is_name(parts[0]):
        name, values = texts_of(parts[0]), parts[1:]
    elif len(parts) == 2 and _is_name(parts[1]):
        name, values = texts_of(parts[1]), parts[:1]
    elif len(parts) == 2 and any(token.kind == "symbol" and token.text not in "ei" for token in tokens):
        return Relation("=", formula(parts[0]), formula(parts[1]), read(parts[1], level))
    else:
        name, values = (), parts
    relation = None
    if len(parts) == 2 and found == ["="] and not any(token.kind == "word" for token in tokens):
        relation = Relation("=", formula(parts[0]), formula(parts[1]))
    return Statement(name, tuple(read(value, level) for value in values), relation)


def _unrounded(parts: list[Tokens], found: list[str]) -> tuple[list[Tokens], list[str]]:
    """A chain without what is rounded in it, which is not the answer, unless it is the only value: x \\approx 3.14."""
    kept = found.index("\\approx") + 1
    if _is_name(parts[kept - 1]) or formula(parts[kept - 1]).variables:
        kept += 1
    return parts[:kept], found[: kept - 1]


def _is_name(tokens: Tokens) -> bool:
    r"""Whether tokens name a quantity: x, x_1, \theta, f(x), f^{-1}(x), AB, \angle ABC, (a, b), dy/dx, Area."""
    texts = texts_of(tokens)
    if texts[1:6] == ("^", "{", "-", "1", "}") and texts[6:7] == ("(",):
        tokens, texts = [tokens[0], *tokens[6:]], texts[:1] + texts[6:]
    if texts[:3] == ("\\frac", "{", "d") and texts[-4:-2] == ("{", "d") and len(texts) <= 9:
        return True
    if len(texts) > 4 and texts[0] == "(" and all(text == "," for text in texts[2::2][:-1]):
        return texts[-1] == ")" and all(token.kind == "symbol" for token in tokens[1::2])
    if not texts or texts in (("e",), ("i",), ("\\pi",)) or len(texts) > 12:
        return False
    depth, named = 0, False
    for place, token in enumerate(tokens):
        depth += depth_of(token)
        if depth > 0 or depth_of(token) < 0:
            if place == 0:
                return False
        elif token.kind in ("symbol", "word") or token.text in expression.SYMBOLS:
            named = True
        elif token.kind == "number":
            if texts[place - 1] != "_":
                return False
        elif token.text not in ("_", "'", "\\angle", "\\triangle", "\\circ") and token.text not in expression.DRAWN:
            return False
    return named or texts[0] in expression.DRAWN


def _inequality(tokens: Tokens, level: int) -> Answer | None:
    parts, found = split(tokens, ORDERED)
    if not found or not all(parts):
        return None
    if found == ["\\ne"]:
        return Relation("\\ne", formula(parts[0]), formula(parts[1]))
    if all(sign in MORE for sign in found):  # turned round
        parts, found = parts[::-1], [MORE[sign] for sign in found[::-1]]
    if not all(sign in LESS for sign in found) or len(parts) > 3:
        return formula(tokens)
    names = [_is_name(part) for part in parts]
    bracket = {"<": "()", "\\le": "[]"}
    if names == [True, False]:
        return _named(parts[0], Items("(", bracket[found[0]][1], (MINUS_INFINITE, read(parts[1], level))))
    if names == [False, True]:
        return _named(parts[1], Items(bracket[found[0]][0], ")", (read(parts[0], level), INFINITE)))
    if names == [False, True, False]:
        ends = (read(parts[0], level), read(parts[2], level))
        return _named(parts[1], Items(bracket[found[0]][0], bracket[found[1]][1], ends))
    if len(parts) == 2:
        return Relation(found[0], formula(parts[0]), formula(parts[1]))
    return formula(tokens)


def _named(name: Tokens, interval: Items) -> Statement:
    return Statement(texts_of(name), (interval,), None)


def _bracketed(tokens: Tokens, level: int) -> Answer | None:
    if len(tokens) < 2 or tokens[0].text not in OPENING or closing_place(tokens) != len(tokens) - 1:
        return None
    opening, closing, inside = tokens[0].text, tokens[-1].text, tokens[1:-1]
    if opening == r"\{":
        conditions, found = split(inside, ("|", ":"))
        if len(found) == 1 and _is_name(conditions[0][:1]):
            return read(conditions[1], level)
    parts, found = split(inside, (",", ";"))
    if opening == r"\{" or found:
        return _items(opening, closing, [read(part, level) for part in parts if part])
    if opening == "(" and closing == ")":
        return Choice(inside[0].text) if _is_letter(inside) else read(inside, level)
    return _items(opening, closing, [read(inside, level)]) if (opening, closing) == ("[", "]") else None


def _is_letter(tokens: Tokens) -> bool:
    return len(tokens) == 1 and tokens[0].text in CHOICES


def _choice(tokens: Tokens, level: int) -> Answer | None:
    texts = texts_of(tokens[:3])
    if len(tokens) == 2 and texts[1] == ")" and texts[0] in CHOICES:
        return Choice(texts[0])
    if len(tokens) > 3 and _is_lettered(tokens):
        follows = tokens[3]
        others = any(_is_lettered(tokens[place:]) for place in range(3, len(tokens) - 2))
        if others or follows.text in LISTED:  # (A) or (B)
            return None
        product = not follows.spaced or follows.text in ("+", "-", "^", "/", "\\cdot")
        if follows.kind in ("number", "word") or not product:
            return Choice(texts[1])
    return None


def _is_lettered(tokens: Tokens) -> bool:
    """Whether tokens begin with the capital letter of a choice in brackets."""
    opening, letter, closing = texts_of(tokens[:3])
    return opening == "(" and closing == ")" and letter in CHOICES and letter.isupper()


def _ratio(tokens: Tokens, level: int) -> Answer | None:
    parts, found = split(tokens, (":",))
    return _items(RATIO, RATIO, [read(part, level) for part in parts]) if found and all(parts) else None


def _plus_minus(tokens: Tokens, level: int) -> Answer | None:
    places = [place for place, token in enumerate(tokens) if token.text in SIGNED]
    if len(places) != 1:
        return None
    both = [[*tokens[: places[0]], Token("sign", sign), *tokens[places[0] + 1 :]] for sign in "+-"]
    return _items(ALTERNATIVES, ALTERNATIVES, [read(one, level) for one in both])


def _named_set(tokens: Tokens, level: int) -> Answer | None:
    return NAMED_SETS.get(texts_of(tokens))


def _words(tokens: Tokens) -> Answer | None:
    """A text with words, unless the words are the unit of a number."""
    first = next((place for place, token in enumerate(tokens) if token.kind == "word"), None)
    if first is None:
        return None
    quantity = formula(tokens) if first else None
    return quantity if quantity and quantity.node else Words(" ".join(texts_of(tokens)).casefold())


# What an answer may be, in the order in which it is tried, and the signs of which it has at least one.
RULES: tuple[tuple[Callable[[Tokens, int], Answer | None], frozenset[str]], ...] = (
    (_named_set, SET_NAMES),
    (_choice, frozenset((")",))),
    (_matrix, frozenset(("\\begin",))),
    (_union, frozenset(("\\cup",))),
    (_list, LISTED),
    (_equation, EQUATED),
    (_inequality, ORDERED),
    (_bracketed, OPENING),
    (_ratio, frozenset((":",))),
    (_plus_minus, SIGNED),
)


def unreadable(answer: Answer) -> bool:
    """Whether a part of it is beyond every parser here."""
    if isinstance(answer, Formula):
        return not answer.readable
    if isinstance(answer, Relation):
        return unreadable(answer.left) or unreadable(answer.right)
    parts = answer.items if isinstance(answer, Items) else answer.values if isinstance(answer, Statement) else ()
    return any(unreadable(part) for part in parts)
