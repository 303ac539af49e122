r"""Types of answers: a number with or without a unit, an expression, words, a tuple, set or interval, an equation.

`reading.py` makes answers from tokens, and `compare.py` says which are equal.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from grpo_jax.rewards.mathematics.brackets import Tokens
from grpo_jax.rewards.mathematics.expression import Node
from grpo_jax.rewards.mathematics.formula import Formula
from grpo_jax.rewards.mathematics.work import TooLargeError

MAX_ITEMS = 64  # of a tuple, list or set

# Names for the brackets of items that have none. The order of a bare list does not count, that of a sequence does. OPEN
# is an open interval that cannot be a point (1 < x < 2); (1, 2) can be either.
BARE, SEQUENCE, ALTERNATIVES, UNION, OPEN = "list", "sequence", "alternatives", "union", "open"
NAMED = "named"  # x = 1, y = 2
MATRIX, DETERMINANT, RATIO, ROWS, PIECE = "matrix", "determinant", ":", "rows", "piece"


@dataclass(frozen=True)
class Words:
    """A text, compared regardless of case and white space."""

    text: str


@dataclass(frozen=True)
class Choice:
    """A letter of multiple choice that is written as one: (A), A., (A) 12; and the value after it."""

    letter: str
    value: "Answer | None" = None


@dataclass(frozen=True)
class Items:
    """A tuple, interval, list, set, matrix or union; the brackets tell which (`compare.py` says what they mean).

    Raises:
      TooLargeError: if there are more than `MAX_ITEMS`.
    """

    opening: str
    closing: str
    items: tuple["Answer", ...]

    def __post_init__(self) -> None:
        if len(self.items) > MAX_ITEMS:
            raise TooLargeError("an answer of too many parts")


@dataclass(frozen=True)
class Statement:
    """`x = 5`, or a chain `x = 2 + 3 = 5` of `values`."""

    name: tuple[str, ...]  # () for a chain without a name
    values: tuple["Answer", ...]
    relation: "Relation | None" = None  # the same as an equation, if it is one


@dataclass(frozen=True)
class Relation:
    """Two expressions and the sign between them: =, \\ne, \\le, <. The sides of > and \\ge are swapped."""

    sign: str
    left: Formula
    right: Formula
    value: "Answer | None" = None  # 113 in `m + n = 113`, in case only that was asked for


@dataclass(frozen=True)
class General:
    """An answer for all values of a letter, as it is written and with k in place of the letter."""

    plain: "Answer"
    of_k: "Answer"
    of: "Numbers"


@dataclass(frozen=True)
class Progressions:
    """Numbers, one for each k: 12k + 5."""

    functions: tuple[Node, ...]
    of: "Numbers"


@dataclass(frozen=True)
class Family:
    """A gold answer with arbitrary constants. `known` holds the letters of its question, which are not constants."""

    value: "Answer"
    known: frozenset[str]


@dataclass(frozen=True)
class Residue:
    """A remainder: `x \\equiv 5 \\pmod 7`."""

    name: tuple[str, ...]
    value: "Answer"
    modulus: Formula
    is_least: bool = False  # of a gold answer: its question asks for the remainder itself, so `(mod 7)` may be omitted


@dataclass(frozen=True)
class Asked:
    """A gold answer, and the quantity that its question asks for: x, f(3), m + n, |z|."""

    quantity: Formula
    value: "Answer"


@dataclass(frozen=True)
class Time:
    """A time of the day, in seconds since midnight."""

    seconds: int


@dataclass(frozen=True)
class Date:
    """A date, or a day of any year, or a month of one."""

    year: int | None
    month: int
    day: int | None


Answer: TypeAlias = (
    Formula | Words | Choice | Items | Statement | Relation | General | Residue | Family | Asked | Time | Date
)
Reader: TypeAlias = Callable[[Tokens], Answer]  # how the parts of an answer are read
Numbers: TypeAlias = Literal["whole", "natural", "nonnegative", "positive", "real"]
LEAST: dict[Numbers, tuple[int | None, ...]] = {  # the smallest of them; natural numbers may begin with 0 or 1
    "whole": (None,), "natural": (0, 1), "nonnegative": (0,), "positive": (1,), "real": (),
}  # fmt: skip

INFINITE = Formula(("\\infty",), Node("constant", name="infinity"), None)
MINUS_INFINITE = Formula(("-", "\\infty"), Node("negative", (Node("constant", name="infinity"),)), None)
EMPTY_SET = Items(r"\{", r"\}", ())


def listed(kind: str, items: Sequence[Answer]) -> Items:
    """Return items without brackets as one answer."""
    return Items(kind, kind, tuple(items))


def as_vector(matrix: Items) -> Items:
    """Return a matrix of one row or column as a tuple; others as they are."""
    rows = [row.items for row in matrix.items if isinstance(row, Items)] if matrix.opening == MATRIX else []
    if not rows or (len(rows) > 1 and max(map(len, rows)) > 1):
        return matrix
    return Items("(", ")", rows[0] if len(rows) == 1 else tuple(row[0] for row in rows))


def of_either_sign(item: Answer) -> Sequence[Answer]:
    r"""Return both numbers of \pm 2; other answers alone."""
    value = item.values[0] if isinstance(item, Statement) and len(item.values) == 1 else item
    if not isinstance(value, Items) or value.opening != ALTERNATIVES or len(value.items) != 2:
        return (item,)
    if isinstance(item, Statement):
        return [Statement(item.name, (one,)) for one in value.items]
    return value.items


def unreadable(answer: Answer) -> bool:
    """Return whether no parser here can read some part of an answer."""
    match answer:
        case Formula():
            return not answer.readable
        case Relation():
            return unreadable(answer.left) or unreadable(answer.right)
        case General(plain=value) | Asked(value=value) | Residue(value=value) | Family(value=value):
            return unreadable(value)
        case Items(items=parts) | Statement(values=parts):
            return any(map(unreadable, parts))
    return False
