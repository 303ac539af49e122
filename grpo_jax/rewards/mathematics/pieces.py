"""Compare two functions in pieces, regardless of the order of the pieces and of which piece includes an end."""

import itertools
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import NamedTuple

from grpo_jax.rewards.mathematics.answer import UNION, Answer, Items, Statement
from grpo_jax.rewards.mathematics.exact import rational
from grpo_jax.rewards.mathematics.expression import Node, replaced
from grpo_jax.rewards.mathematics.formula import Formula
from grpo_jax.rewards.mathematics.sets import end_of
from grpo_jax.rewards.mathematics.truth import all_of

End = Fraction | float
Equal = Callable[[Answer, Answer], bool | None]


class _Piece(NamedTuple):
    """An expression and the interval on which it holds, with or without each end."""

    value: Formula
    letter: str
    low: End
    high: End
    with_low: bool
    with_high: bool

    def holds(self, at: End) -> bool:
        return self.low < at < self.high or (at == self.low and self.with_low) or (at == self.high and self.with_high)

    def at(self, number: Fraction) -> Formula | None:
        if self.value.node is None:
            return None
        node = replaced(self.value.node, {self.letter: Node("number", value=number)})
        return Formula((*self.value.tokens, f"({number})"), node, rational(node))


def same_pieces(equal: Equal, gold: Items, answer: Items) -> bool | None:
    """Return whether two functions in pieces are equal, at the ends of their pieces and between them."""
    ours, theirs = _pieces(gold), _pieces(answer)
    if not ours or not theirs or len({piece.letter for piece in (*ours, *theirs)}) > 1:
        return False
    ends = sorted({end for piece in (*ours, *theirs) for end in (piece.low, piece.high) if isinstance(end, Fraction)})
    return all_of(
        _same_at(equal, _holding(ours, point), _holding(theirs, point), point if point in ends else None)
        for point in (*ends, *_between(ends))
    )


def _between(ends: Sequence[Fraction]) -> list[Fraction]:
    """Return a number between each two neighbouring ends, and one on either side of all."""
    middle = [(one + other) / 2 for one, other in itertools.pairwise(ends)]
    return [ends[0] - 1, *middle, ends[-1] + 1] if ends else [Fraction(0)]


def _holding(pieces: Sequence[_Piece], at: Fraction) -> list[_Piece]:
    return [piece for piece in pieces if piece.holds(at)]


def _same_at(equal: Equal, ours: list[_Piece], theirs: list[_Piece], end: Fraction | None) -> bool | None:
    """Return whether all these pieces are equal, at an end or, if `end` is None, everywhere."""
    if not ours or not theirs:
        return ours == theirs
    values = ([piece.value if end is None else piece.at(end) for piece in pieces] for pieces in (ours, theirs))
    pairs = itertools.product(*values)
    return all_of(one is not None and other is not None and equal(one, other) for one, other in pairs)


def _pieces(answer: Items) -> list[_Piece]:
    """Return the pieces of a function; [] if it has none, or if an end is not a rational number."""
    found = [_piece(item) for item in answer.items] if answer.opening == UNION else []
    return [piece for piece in found if piece] if None not in found else []


def _piece(item: Answer) -> _Piece | None:
    match item:
        case Items(
            opening="piece", items=(Formula() as value, Statement((letter,), (Formula(value=Fraction() as at),)))
        ):
            return _Piece(value, letter, at, at, True, True)
        case Items(
            opening="piece",
            items=(Formula() as value, Statement((letter,), (Items(opening, closing, (first, last)),))),
        ):
            low, high = end_of(first), end_of(last)
            if low is not None and high is not None and opening != UNION:
                return _Piece(value, letter, low, high, opening == "[", closing == "]")
    return None
