r"""Environments, from \begin to \end: matrices, systems of equations, functions in pieces."""

from collections.abc import Sequence

from grpo_jax.rewards.mathematics.answer import (
    DETERMINANT,
    MATRIX,
    PIECE,
    ROWS,
    UNION,
    Answer,
    Items,
    Reader,
    listed,
)
from grpo_jax.rewards.mathematics.brackets import Tokens, closing_place, split, texts_of
from grpo_jax.rewards.mathematics.equations import SIGNS as EQUATED
from grpo_jax.rewards.mathematics.lists import SEPARATORS, multiple, several
from grpo_jax.rewards.mathematics.sets import ORDERED

KINDS = {
    **dict.fromkeys(("matrix", "pmatrix", "bmatrix", "Bmatrix", "array", "smallmatrix"), MATRIX),
    **dict.fromkeys(
        ("cases", "dcases", "rcases", "aligned", "align", "gathered", "split", "alignedat", "eqnarray"), ROWS
    ),
    "vmatrix": DETERMINANT,
}
BEGIN, END = 4, 4  # the tokens of \begin{cases} and of \end{cases}


def matrix(tokens: Tokens, read: Reader) -> Answer | None:
    """Return a matrix, also with a factor before it, or a system or function in pieces."""
    begin = next(place for place, token in enumerate(tokens) if token.text == "\\begin")
    if begin:
        return _scaled(tokens[:begin], matrix(tokens[begin:], read))
    if len(tokens) < BEGIN + END or closing_place(tokens) != len(tokens) - END:
        return None
    environment = tokens[2].text
    kind = KINDS.get(environment)
    if kind is None:
        return None
    inside = tokens[BEGIN:-END]
    if environment == "array" and inside and inside[0].text == "{":  # the columns' alignment
        inside = inside[closing_place(inside) + 1 :]
    rows = [split(row, ("&",))[0] for row in split(inside, ("\\\\",))[0] if row]
    if kind == ROWS and all(map(_is_piece, rows)):
        return listed(UNION, [_piece(cells, read) for cells in rows])
    if kind == ROWS or any(not EQUATED.isdisjoint(texts_of(cell)) for cells in rows for cell in cells):
        return _system([[token for cell in cells for token in cell] for cells in rows], read)
    return listed(kind, [listed(kind, [read(cell) for cell in cells]) for cells in rows])


def _scaled(factor: Tokens, of: Answer | None) -> Items | None:
    """Return the product of a number or expression and a matrix, multiplied out."""
    if not (isinstance(of, Items) and of.opening == MATRIX):
        return None
    rows = [multiple(factor, row) for row in of.items if isinstance(row, Items) and row.items]
    known = [row for row in rows if row]
    return listed(MATRIX, known) if len(known) == len(of.items) else None


def _is_piece(cells: Sequence[Tokens]) -> bool:
    """Return whether a row is a value of a function and the condition for it."""
    if len(cells) != 2 or not EQUATED.isdisjoint(texts_of(cells[0])) or cells[1][0].text in EQUATED:
        return False
    return any(token.kind == "word" or token.text in ORDERED | EQUATED for token in cells[1])


def _piece(cells: Sequence[Tokens], read: Reader) -> Items:
    said = [[token for token in cell if token.text not in (",", "if", "for")] for cell in cells]
    return listed(PIECE, [read(cell) for cell in said])


def _system(rows: Sequence[Tokens], read: Reader) -> Answer | None:
    """Return several equations as a list, or one equation that spans several rows."""
    equations: list[Tokens] = []
    for row in rows:
        if equations and row and row[0].text in EQUATED:
            equations[-1] = [*equations[-1], *row]
        else:
            equations.append(row[:-1] if row and row[-1].text in SEPARATORS else row)
    if len(equations) == 1:
        return read(equations[0])
    return several([read(equation) for equation in equations], frozenset())
