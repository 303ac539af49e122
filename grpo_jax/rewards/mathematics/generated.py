"""Answers with free parameters: points with arbitrary constants, and progressions such as 12k + 5."""

from grpo_jax.rewards.mathematics.answer import (
    ALTERNATIVES,
    BARE,
    NAMED,
    Answer,
    General,
    Items,
    Progressions,
    Residue,
    Statement,
    as_vector,
)
from grpo_jax.rewards.mathematics.expression import Node, names
from grpo_jax.rewards.mathematics.formula import Formula, swapped

COUNTERS = frozenset("kmnt")  # letters for whole numbers
OF_COUNTER = frozenset(("_", "("))  # in names: a_k and a(k) are one term of a sequence, not all of them
COUNTER = Node("symbol", name="k")


def coordinates(answer: Answer) -> tuple[Node, ...]:
    """Return the coordinates of an answer: one for an expression, several for a point, () for anything else."""
    match answer:
        case Formula(node=Node() as node):
            return (node,)
        case Statement(values=(*_, value)) | General(plain=value):
            return coordinates(value)
        case Items():
            vector = as_vector(answer)
            found = [coordinates(item) for item in vector.items] if vector.opening in ("(", NAMED) else []
            return tuple(one[0] for one in found) if found and all(len(one) == 1 for one in found) else ()
    return ()


def progressions(answer: Answer) -> Progressions | None:
    """Return the progressions in a whole number k that an answer describes; None if it describes none."""
    match answer:
        case General(of="real"):
            return None
        case General(of_k=value, of=of):
            functions = _functions(value)
            known = functions and all(names(function) <= {"k"} for function in functions)
            return Progressions(functions, of) if known else None
        case Residue(value=Formula(node=Node() as value), modulus=Formula(node=Node() as modulus)):
            return Progressions((Node("sum", (value, Node("product", (modulus, COUNTER)))),), "whole")
        case Formula() | Statement() | Items():
            functions = _functions(answer)
            letters = frozenset[str]().union(*map(names, functions))
            if len(letters) == 1 and letters <= COUNTERS:
                return progressions(General(answer, _of_k(answer, *letters), "whole"))
    return None


def _functions(answer: Answer) -> tuple[Node, ...]:
    match answer:
        case Formula(node=Node() as node):
            return (node,)
        case Statement(name, (*_, value)) if OF_COUNTER.isdisjoint(name):
            return _functions(value)
        case Items(opening, _, items) if opening in (ALTERNATIVES, BARE, r"\{"):
            found = [_functions(item) for item in items]
            return tuple(node for one in found for node in one) if all(found) else ()
    return ()


def _of_k(answer: Answer, letter: str) -> Answer:
    match answer:
        case Formula():
            return swapped(answer, letter, "k")
        case Statement(name, values):
            return Statement(name, tuple(_of_k(value, letter) for value in values))
        case Items(opening, closing, items):
            return Items(opening, closing, tuple(_of_k(item, letter) for item in items))
    return answer
