r"""Whether two answers are equal: True, False, or None where only a computer algebra system can tell.

Numbers are equal if they are exactly equal. A rounded decimal is not the fraction it was rounded from: 0.333 is not
1/3, while 0.5 is 1/2 and 0.(3) is 1/3. A unit that one side leaves out is not held against it; two that contradict
each other are, and so are words that may be more than a unit. A percentage is equal to a plain number in value (50 % is
0.5) or, above 1, as it is written (50 % for 50). Degrees are so many of them, or \pi/180 each.

Tuples, intervals, sequences and matrices are equal item by item; sets, unions, alternatives ("x = 1 or x = 2",
"±3") and bare lists in any order. A bare list in which something comes twice is a sequence. `asked.py` knows from the
question which others are.
"""

import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction

from grpo_jax.rewards.mathematics import measures, moments, units, vectors
from grpo_jax.rewards.mathematics.answer import (
    ALTERNATIVES,
    BARE,
    INFINITE,
    MATRIX,
    MINUS_INFINITE,
    NAMED,
    OPEN,
    RATIO,
    SEQUENCE,
    UNION,
    Answer,
    Asked,
    Choice,
    General,
    Items,
    Relation,
    Statement,
    Time,
    Words,
)
from grpo_jax.rewards.mathematics.expression import DEGREE as ONE_DEGREE
from grpo_jax.rewards.mathematics.expression import SYMBOLS, Node
from grpo_jax.rewards.mathematics.formula import Formula, swapped
from grpo_jax.rewards.mathematics.naming import contradict, is_quantity, is_shifted, name_of
from grpo_jax.rewards.mathematics.units import ANGLES, DEGREE, PERCENT, RADIAN
from grpo_jax.rewards.mathematics.work import spend

Same = Callable[[Formula, Formula], bool | None]
SameRelation = Callable[[Relation, Relation], bool | None]


class Comparison:
    """Compares answers, given how to compare what is not a rational number (by default: only as texts)."""

    def __init__(
        self,
        formulas: Same = lambda gold, answer: None,
        relations: SameRelation = lambda gold, answer: None,
    ):
        self._formulas = formulas
        self._relations = relations

    def equal(self, gold: Answer, answer: Answer) -> bool | None:
        """Whether an answer is the gold one. It is not symmetric: an equation's name may be left out by the answer."""
        spend(2)
        if gold == answer:
            return True
        if isinstance(answer, Statement | Items) and (theirs := _by_name(answer)):
            ours = _by_name(gold)
            if ours:  # (a, b) = (1, 2) and (b, a) = (2, 1), or b = 2, a = 1
                return ours.keys() == theirs.keys() and _all(self.equal(ours[name], theirs[name]) for name in ours)
            if list(theirs) != sorted(theirs):  # (1, 2) is (x, y), and not (y, x)
                return False
        if isinstance(gold, Asked):
            return self._asked(gold, answer)
        if isinstance(gold, General) or isinstance(answer, General):
            return self._general(gold, answer)
        rule = RULES.get((type(gold), type(answer)))
        if rule is None and isinstance(answer, Statement):
            rule = Comparison._chain
        if rule is None and isinstance(gold, Statement):
            rule = Comparison._value
        if rule is None and isinstance(gold, Choice):
            rule = Comparison._without_letter
        if rule is None and isinstance(answer, Choice):
            rule = Comparison._lettered
        return rule(self, gold, answer) if rule else False

    def _asked(self, gold: Asked, answer: Answer) -> bool | None:
        """Whether an answer has the value, and says nothing else of what it is the value of."""
        quantity = gold.quantity
        match answer:
            case Relation("=", left, right, value) if value is not None and not left.variables.isdisjoint(
                quantity.variables
            ):
                for named, said in ((left, value), (right, left)):
                    if named.variables:
                        same = self.equal(quantity, named)
                        return same and self.equal(gold.value, said)
            case Statement((), (Formula() as first, *others)) if others and self.equal(quantity, first):
                return self._links(gold.value, others)
        name = name_of(quantity.tokens)
        if any(contradict(name, other) for other in _names(answer)):
            return False
        if isinstance(answer, Statement):
            answer = _of_letter(name, answer)
        if len(quantity.tokens) == 1 and _is_of(gold.value, BARE) and _is_of(answer, "(", "["):
            return False  # (2, 3) is one point, or all that lies between
        return self.equal(gold.value, answer)

    def _general(self, gold: Answer, answer: Answer) -> bool | None:
        """Whether they say the same of all whole numbers, whatever letter stands for those."""
        if isinstance(gold, General) and isinstance(answer, General):
            return gold.of == answer.of and self.equal(gold.of_k, answer.of_k)
        ours = (gold.plain, gold.of_k) if isinstance(gold, General) else (gold,)
        theirs = (answer.plain, answer.of_k) if isinstance(answer, General) else (answer,)
        return _any(self.equal(one, other) for one in ours for other in theirs)

    def _formula(self, gold: Formula, answer: Formula) -> bool | None:
        if gold.tokens == answer.tokens:
            return True
        if not vectors.DRAWN.isdisjoint((*gold.tokens, *answer.tokens)):
            ours, theirs = (vectors.components(one, 3) for one in (gold, answer))
            if ours and theirs:
                return self._items(ours, theirs)
        gold, answer = _measured(gold, _of_constant(gold, answer))
        if answer.unit is not None and not measures.allows(gold.measure, answer.unit):
            return False
        units_given = [formula.unit for formula in (gold, answer) if formula.unit is not None]
        kinds = {unit.kind for unit in units_given}
        if len(units_given) == 2 and gold.unit == answer.unit:
            return self._magnitudes(gold, answer)
        if kinds and kinds <= ANGLES:
            return self._angles(gold, answer)
        if len(units_given) == 2 and units.LENGTH_UNIT in {name for kind in kinds for name, _ in kind}:
            return len(set(map(units.in_lengths, kinds))) == 1 and self._magnitudes(gold, answer)
        if len(units_given) == 2:
            contrary = units.contradict(*units_given)
            return False if contrary else self._magnitudes(_plain(gold), _plain(answer))
        if PERCENT.kind in kinds:
            return self._percentages(gold, answer)
        if answer.unit is not None and not answer.unit.sure:
            return False
        return self._magnitudes(gold, answer)

    def _percentages(self, gold: Formula, answer: Formula) -> bool | None:
        as_numbers = self._magnitudes(_plain(gold), _plain(answer))
        as_written = self._magnitudes(gold, answer)
        if PERCENT not in (gold.unit, answer.unit):  # per thousand
            return as_numbers
        if gold.unit is not None:
            return _any((as_numbers, as_written))
        if gold.measure == measures.PERCENTAGE:
            return as_written
        whole = gold.value is not None and gold.value.denominator == 1
        if gold.measure in (measures.NUMBER, measures.PLAIN):
            return not whole and as_numbers
        if gold.measure or gold.value is None or abs(gold.value) <= 1:
            return as_numbers  # 0.5 is not 0.5 %, and 1 not 1 %
        return _any((as_numbers, as_written))

    def _angles(self, gold: Formula, answer: Formula) -> bool | None:
        r"""Degrees and radians: 90 is 90^\circ, which is \pi/2; 90 radians are neither."""
        in_radians = self._magnitudes(_radians(gold), _radians(answer))
        if RADIAN in (gold.unit, answer.unit):
            plain_radians = answer.unit == RADIAN and gold.unit is None and gold.value is not None
            return False if plain_radians else in_radians
        if gold.unit is None and gold.value is None and not gold.variables:
            return in_radians
        return (
            _any((self._magnitudes(gold, answer), in_radians))
            if answer.unit is None
            else self._magnitudes(gold, answer)
        )

    def _magnitudes(self, gold: Formula, answer: Formula) -> bool | None:
        if gold.value is not None and answer.value is not None:
            return gold.value == answer.value
        if not (gold.readable and answer.readable):
            return False
        if gold.node is not None and gold.node == answer.node:
            return True
        if INFINITIES.intersection((gold.node, answer.node)) or (_is_simple(gold) and _is_simple(answer)):
            return False
        return self._formulas(gold, answer)

    def _items(self, gold: Items, answer: Items) -> bool | None:
        gold, answer = _as_vectors(gold, answer)
        if gold.opening == answer.opening == RATIO:
            return self._ratios(gold, answer)
        if (gold.opening, gold.closing) != (answer.opening, answer.closing) and not _compatible(gold, answer):
            return False
        kinds = {gold.opening, answer.opening}
        if kinds & {UNION, ALTERNATIVES, r"\{"}:
            return _all(
                _any(self.equal(a, b) for b in other)
                for one, other in ((gold.items, answer.items), (answer.items, gold.items))
                for a in one
            )
        if len(gold.items) != len(answer.items):
            return False
        if kinds == {BARE} and len(set(gold.items)) == len(gold.items):
            return self._in_any_order(gold.items, answer.items)
        return _all(itertools.starmap(self.equal, zip(gold.items, answer.items, strict=True)))

    def _in_any_order(self, gold: Sequence[Answer], answer: Sequence[Answer]) -> bool | None:
        """Whether each item has one of its own among the others."""
        left = list(answer)
        unknown = False
        for item in gold:
            truths = [self.equal(item, other) for other in left]
            if True in truths:
                del left[truths.index(True)]
            elif None in truths:
                unknown = True
            else:
                return False
        return None if unknown else True

    def _ratios(self, gold: Items, answer: Items) -> bool | None:
        """2:4 is 1:2; but 12:30 may be a time, and 3:45 PM is one."""
        if len(gold.items) != len(answer.items):
            return False
        ours, theirs = _values(gold), _values(answer)
        measured = any(isinstance(item, Formula) and item.unit is not None for item in (*gold.items, *answer.items))
        if (
            measured
            or _is_time(gold)
            or len(ours) < len(gold.items)
            or len(theirs) < len(ours)
            or not all(ours + theirs)
        ):
            return _all(itertools.starmap(self.equal, zip(gold.items, answer.items, strict=True)))
        return all(one * theirs[0] == other * ours[0] for one, other in zip(ours, theirs, strict=True))

    def _quotient(self, gold: Items, answer: Formula) -> bool | None:
        """3/4 for 3:4, 100,200 for a list of two, 3i - 2j for a vector."""
        vector = _vector(gold)
        parts = vectors.components(answer, len(vector.items)) if vector.opening == "(" else None
        if parts is not None:
            return self._items(vector, parts)
        values = _values(gold)
        if len(values) < len(gold.items):
            return False
        if gold.opening == RATIO and len(values) == 2 and values[1] and not _is_time(gold):
            return values[0] / values[1] == answer.value
        if len(answer.tokens) == 1 and "," in answer.tokens[0] and gold.opening in (BARE, SEQUENCE, r"\{"):
            numbers = [Fraction(number) for number in answer.tokens[0].split(",")]
            return values == numbers or (gold.opening != SEQUENCE and sorted(values) == sorted(numbers))
        return False

    def _components(self, gold: Formula, answer: Items) -> bool | None:
        if gold.measure == measures.RATIO and answer.opening == RATIO:
            return self._quotient(answer, gold)
        parts = vectors.components(gold, len(_vector(answer).items))
        return parts is not None and self._items(parts, answer)

    def _time(self, gold: Time | Items, answer: Time | Items) -> bool:
        ratio, time = (gold, answer) if isinstance(gold, Items) else (answer, gold)
        return isinstance(ratio, Items) and isinstance(time, Time) and moments.may_be(ratio, time)

    def _chain(self, gold: Answer, answer: Statement) -> bool | None:
        if (is_shifted(answer.name) and _variables(gold)) or _is_circular(answer):
            return False  # a_{n+1} = 2^n says nothing of a_n, and x = 2x + 1 not what x is
        return self._links(gold, answer.values, named=bool(answer.name))

    def _links(self, gold: Answer, links: Sequence[Answer], named: bool = True) -> bool | None:
        r"""Whether `x = 2 + 3 = 5` or `A = \pi r^2 = 9\pi` ends with the gold answer.

        Every other link must be the gold answer as well, or the chain is wrong somewhere; only links with variables
        that the gold answer does not have may be anything. Where no name stands before them, the first must be what can
        have been asked for: m + n = 113 says what m + n is, but 3x = 15 has not been solved.
        """
        known = gold.variables if isinstance(gold, Formula) else frozenset[str]()
        closed = [not isinstance(link, Formula) or link.variables <= known for link in links]
        opened = links[closed.index(False)] if not named and False in closed else None
        if isinstance(opened, Formula) and not is_quantity(opened.tokens):
            return False
        if closed == [True, False]:  # 113 = m + n
            return self.equal(gold, links[0])
        others = (link for link, is_closed in zip(links[:-1], closed[:-1], strict=True) if is_closed)
        return _all(self.equal(gold, link) for link in (links[-1], *others))

    def _evaluated(self, gold: Answer, answer: Relation) -> bool | None:
        """`m + n = 113` where 113 is the gold answer."""
        return self._links(gold, (answer.left, answer.value), named=False) if answer.value is not None else False

    def _value(self, gold: Statement, answer: Answer) -> bool | None:
        return self.equal(gold.values[-1], answer)

    def _statements(self, gold: Statement, answer: Statement) -> bool | None:
        if gold.name == answer.name:
            return self._chain(gold.values[-1], answer)
        if not (_is_variable(gold.name) and _is_variable(answer.name)):
            return not contradict(gold.name, answer.name) and self._chain(
                gold.values[-1], _of_letter(gold.name, answer)
            )
        if gold.relation is None or answer.relation is None:
            return False
        if gold.relation.right.value is not None and answer.relation.right.value is not None:
            return False  # x = 5 and y = 5
        return self._relations(gold.relation, answer.relation)

    def _relation(self, gold: Relation, answer: Relation) -> bool | None:
        return self._relations(gold, answer) if gold.sign == answer.sign else False

    def _stated(self, gold: Statement, answer: Relation) -> bool | None:
        return self._relation(gold.relation, answer) if gold.relation else False

    def _restated(self, gold: Relation, answer: Statement) -> bool | None:
        return self._relation(gold, answer.relation) if answer.relation else False

    def _spelt(self, words: Words, formula: Formula) -> bool:
        r"""\text{II} is II, though letters without a command are variables."""
        return words.text == "".join(formula.tokens).casefold()

    def _option(self, gold: Choice, answer: Words) -> bool:
        """Whether words are those of the option, with or without its letter."""
        said = re.sub(rf"^\(? ?{gold.letter} [).:] ", "", answer.text, flags=re.IGNORECASE)
        return isinstance(gold.value, Words) and said == gold.value.text

    def _choices(self, gold: Choice, answer: Choice) -> bool | None:
        same = gold.letter.casefold() == answer.letter.casefold()
        if not same or gold.value is None or answer.value is None:
            return same
        return self.equal(gold.value, answer.value)

    def _without_letter(self, gold: Choice, answer: Answer) -> bool | None:
        if (
            isinstance(answer, Formula)
            and len(answer.tokens) == 1
            and answer.tokens[0].casefold() == gold.letter.casefold()
        ):
            return True
        return self.equal(gold.value, answer) if gold.value is not None else False

    def _lettered(self, gold: Answer, answer: Choice) -> bool | None:
        if isinstance(gold, Formula) and len(gold.tokens) == 1 and gold.tokens[0].isalpha():
            return gold.tokens[0].casefold() == answer.letter.casefold()
        return self.equal(gold, answer.value) if answer.value is not None else False


RULES: dict[tuple[type, type], Callable[..., bool | None]] = {
    (Formula, Formula): Comparison._formula,
    (Choice, Words): Comparison._option,
    (Words, Words): lambda _, gold, answer: gold == answer,
    (Words, Formula): Comparison._spelt,
    (Formula, Words): lambda self, gold, answer: self._spelt(answer, gold),
    (Choice, Choice): Comparison._choices,
    (Items, Items): Comparison._items,
    (Items, Formula): Comparison._quotient,
    (Formula, Items): Comparison._components,
    (Items, Time): Comparison._time,
    (Time, Items): Comparison._time,
    (Statement, Statement): Comparison._statements,
    (Relation, Relation): Comparison._relation,
    (Statement, Relation): Comparison._stated,
    (Relation, Statement): Comparison._restated,
    (Formula, Relation): Comparison._evaluated,
    (Items, Relation): Comparison._evaluated,
}

# Brackets that say the same: `1, 2` may stand for (1, 2) or for a set; alternatives, as of `x = 1 or x = 2`, for a set
# only, for (1, 2) is a point or an interval.
COMPATIBLE = (
    {BARE, "("}, {BARE, r"\{"}, {BARE, ALTERNATIVES}, {ALTERNATIVES, r"\{"}, {BARE, SEQUENCE}, {SEQUENCE, "("},
    {NAMED, "("}, {NAMED, BARE}, {NAMED, SEQUENCE},
)  # fmt: skip


def _compatible(gold: Items, answer: Items) -> bool:
    if {gold.opening, answer.opening} in COMPATIBLE:
        return all(items.opening != "(" or items.closing == ")" for items in (gold, answer))
    return (gold.opening, answer.opening, answer.closing) == (OPEN, "(", ")")  # an interval, which (1, 2) need not be


def _as_vectors(gold: Items, answer: Items) -> tuple[Items, Items]:
    """A matrix of one column or row as a tuple, where the other answer is one."""
    if {gold.opening, answer.opening} == {MATRIX, "("}:
        return _vector(gold), _vector(answer)
    if {gold.opening, answer.opening} <= {UNION, OPEN, "("} and UNION in (gold.opening, answer.opening):
        return _intervals(gold), _intervals(answer)
    return gold, answer


def _vector(matrix: Items) -> Items:
    rows = [row.items for row in matrix.items if isinstance(row, Items)] if matrix.opening == MATRIX else []
    if not rows or (len(rows) > 1 and max(map(len, rows)) > 1):
        return matrix
    return Items("(", ")", rows[0] if len(rows) == 1 else tuple(row[0] for row in rows))


def _intervals(union: Items) -> Items:
    """A union whose bounded open intervals are marked as such, since nothing in it can be a point."""
    if union.opening != UNION:
        return union
    items = (item.values[-1] if isinstance(item, Statement) else item for item in union.items)
    marked = (
        Items(OPEN, OPEN, item.items)
        if isinstance(item, Items) and (item.opening, item.closing) == ("(", ")")
        and item.items[:1] != (MINUS_INFINITE,) and item.items[1:] != (INFINITE,)
        else item
        for item in items
    )  # fmt: skip
    return Items(UNION, UNION, tuple(marked))


def _values(items: Items) -> list[Fraction]:
    """The values of those that are rational numbers."""
    return [item.value for item in items.items if isinstance(item, Formula) and item.value is not None]


def _is_time(ratio: Items) -> bool:
    """Whether it is written like 12:30."""
    hours, *others = [item.tokens if isinstance(item, Formula) else () for item in ratio.items]
    two_digits = all(
        len(part) == 1 and part[0].isdigit() and len(part[0]) == 2 and int(part[0]) < 60 for part in others
    )
    return two_digits and len(hours) == 1 and hours[0].isdigit() and int(hours[0][:9]) <= 24


def _of_constant(gold: Formula, answer: Formula) -> Formula:
    """Return x^2 + c as x^2 + C, if that is the gold answer: a constant of integration may have any of its names."""
    node = gold.node
    if node is None or node.operation != "sum" or CONSTANT not in node.arguments or "C" in answer.variables:
        return answer
    others = answer.variables - gold.variables
    return swapped(answer, min(others), "C") if len(others) == 1 and others <= CONSTANT_NAMES else answer


CONSTANT = Node("symbol", name="C")
CONSTANT_NAMES = frozenset("cKkD")


def _measured(gold: Formula, answer: Formula) -> tuple[Formula, Formula]:
    """Both, with letters behind the number taken for a unit where the other one makes sense of that only."""
    if answer.measured is not None and answer.measured.unit is not None and not gold.variables:
        if gold.unit is None and not answer.measured.unit.sure:  # 5m, of which m may be a variable
            return gold, answer
        return gold, answer.measured
    if gold.measured is not None and answer.unit is not None:
        return gold.measured, answer
    return gold, answer


def _is_simple(formula: Formula) -> bool:
    """Whether it is a rational number or a single variable, which are equal only if they are the same."""
    return formula.value is not None or (formula.node is not None and formula.node.operation == "symbol")


INFINITIES = frozenset((INFINITE.node, MINUS_INFINITE.node))  # equal to nothing but themselves


def _radians(formula: Formula) -> Formula:
    if formula.unit != DEGREE or formula.node is None:
        return Formula(formula.tokens, formula.node, formula.value)
    return Formula(
        formula.tokens, Node("product", (formula.node, ONE_DEGREE)), Fraction(0) if formula.value == 0 else None
    )


def _plain(formula: Formula) -> Formula:
    """The same quantity without its unit: 50 % as 0.5, 5 cm as 0.05."""
    if formula.unit is None or formula.node is None:
        return formula
    factor = formula.unit.factor
    value = None if formula.value is None else formula.value * factor
    return Formula(formula.tokens, Node("product", (formula.node, Node("number", value=factor))), value)


def _by_name(answer: Answer) -> dict[tuple[str, ...], Answer] | None:
    """The values of several names: of `x = 1, y = 2`, or of `(x, y) = (1, 2)`."""
    if isinstance(answer, Items):
        if answer.opening not in (NAMED, "(", BARE) or not answer.items:
            return None
        named = {item.name: item for item in answer.items if isinstance(item, Statement) and item.name}
        return dict(named) if len(named) == len(answer.items) else None
    if not isinstance(answer, Statement) or answer.name[:1] != ("(",) or len(answer.values) != 1:
        return None
    names, value = answer.name[1:-1:2], answer.values[0]
    if not isinstance(value, Items) or value.opening != "(" or len(value.items) != len(names):
        return None
    return {(name,): item for name, item in zip(names, value.items, strict=True)}


def _is_of(answer: Answer, *openings: str) -> bool:
    return isinstance(answer, Items) and answer.opening in openings


def _of_letter(name: tuple[str, ...], answer: Statement) -> Statement:
    """Return f(t) = 2t as f(x) = 2x, where the name is f(x)."""
    ours, theirs = name[-3:], answer.name[-3:]
    if ours == theirs or any(len(one) < 3 or (one[0], one[2]) != ("(", ")") for one in (ours, theirs)):
        return answer
    values = (swapped(value, ours[1], theirs[1]) if isinstance(value, Formula) else value for value in answer.values)
    return Statement(name, tuple(values))


def _is_circular(statement: Statement) -> bool:
    """Whether a name is given a value that it is a part of."""
    name = statement.name
    values = (value for value in statement.values if isinstance(value, Formula))
    return len(name) == 1 and any(name[0] in value.variables and value.tokens != name for value in values)


def _variables(answer: Answer) -> frozenset[str]:
    return answer.variables if isinstance(answer, Formula) else frozenset()


def _names(answer: Answer) -> Iterator[tuple[str, ...]]:
    """The names that an answer gives to values."""
    match answer:
        case Statement(name=name) if name:
            yield name
        case Items(items=items):
            for item in items:
                yield from _names(item)
        case General(plain=value) | Choice(value=value) if value is not None:
            yield from _names(value)


def _is_variable(name: tuple[str, ...]) -> bool:
    return bool(name) and ((name[0].isalpha() and len(name[0]) == 1) or name[0] in SYMBOLS) and "(" not in name


def _all(truths: Iterable[bool | None]) -> bool | None:
    """Kleene's and: False if one is, else None if one is."""
    unknown = False
    for truth in truths:
        if truth is False:
            return False
        unknown |= truth is None
    return None if unknown else True


def _any(truths: Iterable[bool | None]) -> bool | None:
    negated = _all(None if truth is None else not truth for truth in truths)
    return None if negated is None else not negated
