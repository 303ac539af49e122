"""The values that an answer gives to names: x = 1, y = 2, or (x, y) = (1, 2)."""

from collections.abc import Iterator

from grpo_jax.rewards.mathematics.answer import (
    BARE,
    NAMED,
    SEQUENCE,
    Answer,
    Choice,
    General,
    Items,
    Relation,
    Residue,
    Statement,
)
from grpo_jax.rewards.mathematics.formula import Formula, swapped
from grpo_jax.rewards.mathematics.naming import name_of


def by_name(answer: Answer) -> dict[tuple[str, ...], Answer] | None:
    """Return the values of several names: of `x = 1, y = 2`, or of `(x, y) = (1, 2)`."""
    if isinstance(answer, Items):
        if answer.opening not in (NAMED, "(", BARE, SEQUENCE) or not answer.items:
            return None
        named = dict(filter(None, map(_named, answer.items)))
        return dict(named) if len(named) == len(answer.items) else None
    if not isinstance(answer, Statement) or answer.name[:1] != ("(",) or len(answer.values) != 1:
        return None
    names, value = answer.name[1:-1:2], answer.values[0]
    if not isinstance(value, Items) or value.opening != "(" or len(value.items) != len(names):
        return None
    return {(name,): item for name, item in zip(names, value.items, strict=True)}


def _named(item: Answer) -> tuple[tuple[str, ...], Answer] | None:
    r"""Return a name and its value; the name may be a function of another name: \cos x."""
    match item:
        case Relation("=", left, _, value) if value is not None:
            return name_of(left.tokens), value
        case Statement((), (Formula() as left, value)) if left.variables:
            return name_of(left.tokens), value
        case Statement(name=name) if name:
            return name, item
    return None


def of_letter(name: tuple[str, ...], answer: Statement) -> Statement:
    """Return f(t) = 2t as f(x) = 2x if the name is f(x)."""
    ours, theirs = name[-3:], answer.name[-3:]
    if ours == theirs or any(len(one) < 3 or (one[0], one[2]) != ("(", ")") for one in (ours, theirs)):
        return answer
    values = (swapped(value, ours[1], theirs[1]) if isinstance(value, Formula) else value for value in answer.values)
    return Statement(name, tuple(values))


def is_circular(statement: Statement) -> bool:
    """Return whether the value of a name contains the name."""
    name = statement.name
    values = (value for value in statement.values if isinstance(value, Formula))
    return len(name) == 1 and any(name[0] in value.variables and value.tokens != name for value in values)


def names_in(answer: Answer) -> Iterator[tuple[str, ...]]:
    """Yield the names of values in an answer."""
    match answer:
        case Statement(name=name) | Residue(name=name) if name:
            yield name
        case Items(items=items):
            for item in items:
                yield from names_in(item)
        case General(plain=value) | Choice(value=value) if value is not None:
            yield from names_in(value)
