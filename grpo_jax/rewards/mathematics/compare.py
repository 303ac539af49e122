"""Whether two answers are equal: True, False, or None where only a computer algebra system can tell.

Numbers are equal if they are exactly equal. A rounded decimal is not the fraction it was rounded from: 0.333 is not
1/3, while 0.5 is 1/2 and 0.(3) is 1/3. A unit that one side leaves out is not held against it; two that contradict
each other are. A percentage is equal to a plain number in value (50 % is 0.5) or as it is written (50 % for 50); not
the latter where the gold answer is a plain number below 1 (0.5 is not 0.5 %). Tuples, intervals and lists are equal
item by item; sets, unions and alternatives ("x = 1 or x = 2", "±3") in any order.
"""

import itertools
from collections.abc import Callable, Iterable, Sequence

from grpo_jax.rewards.mathematics import units
from grpo_jax.rewards.mathematics.answer import (
    ALTERNATIVES,
    BARE,
    UNORDERED,
    Answer,
    Choice,
    Items,
    Relation,
    Statement,
    Words,
)
from grpo_jax.rewards.mathematics.expression import SYMBOLS, Node
from grpo_jax.rewards.mathematics.formula import Formula
from grpo_jax.rewards.mathematics.units import PERCENT
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
        ours = _by_name(gold) if isinstance(answer, Statement | Items) else None
        if ours and (theirs := _by_name(answer)):  # (a, b) = (1, 2) and (b, a) = (2, 1), or b = 2, a = 1
            return ours.keys() == theirs.keys() and _all(self.equal(ours[name], theirs[name]) for name in ours)
        rule = RULES.get((type(gold), type(answer)))
        if rule is None and isinstance(answer, Statement):
            rule = Comparison._chain
        if rule is None and isinstance(gold, Statement):
            rule = Comparison._value
        return rule(self, gold, answer) if rule else False

    def _formula(self, gold: Formula, answer: Formula) -> bool | None:
        if gold.tokens == answer.tokens:
            return True
        if gold.unit == answer.unit:
            return self._magnitudes(gold, answer)
        if gold.unit is None or answer.unit is None:
            if PERCENT in (gold.unit, answer.unit):
                return self._percentages(gold, answer)
            if answer.unit is not None and not units.may_be_added(answer.unit):
                return False
            return self._magnitudes(gold, answer)
        if units.contradict(gold.unit, answer.unit):
            return False
        return self._magnitudes(_plain(gold), _plain(answer))

    def _percentages(self, gold: Formula, answer: Formula) -> bool | None:
        as_numbers = self._magnitudes(_plain(gold), _plain(answer))
        if gold.unit is None and gold.value is not None and abs(gold.value) < 1:
            return as_numbers  # 0.5 is not 0.5 %
        return _any((as_numbers, self._magnitudes(gold, answer)))

    def _magnitudes(self, gold: Formula, answer: Formula) -> bool | None:
        if gold.value is not None and answer.value is not None:
            return gold.value == answer.value
        if not (gold.readable and answer.readable):
            return False
        if gold.node is not None and gold.node == answer.node:
            return True
        if _is_simple(gold) and _is_simple(answer):
            return False
        return self._formulas(gold, answer)

    def _items(self, gold: Items, answer: Items) -> bool | None:
        brackets = (gold.opening, gold.closing, answer.opening, answer.closing)
        kinds = {gold.opening, answer.opening}
        if brackets[:2] != brackets[2:] and kinds not in COMPATIBLE:
            return False
        if kinds & UNORDERED:
            return _all(
                _any(self.equal(a, b) for b in other)
                for one, other in ((gold.items, answer.items), (answer.items, gold.items))
                for a in one
            )
        if len(gold.items) != len(answer.items):
            return False
        return _all(itertools.starmap(self.equal, zip(gold.items, answer.items, strict=True)))

    def _chain(self, gold: Answer, answer: Statement) -> bool | None:
        return self._links(gold, answer.values)

    def _links(self, gold: Answer, links: Sequence[Answer]) -> bool | None:
        r"""Whether `x = 2 + 3 = 5` or `A = \pi r^2 = 9\pi` ends with the gold answer.

        Every other link must be the gold answer as well, or the chain is wrong somewhere; only links with variables
        that the gold answer does not have may be anything.
        """
        known = gold.variables if isinstance(gold, Formula) else frozenset[str]()
        closed = [not isinstance(link, Formula) or link.variables <= known for link in links]
        if closed == [True, False]:  # 113 = m + n
            return self.equal(gold, links[0])
        others = (link for link, is_closed in zip(links[:-1], closed[:-1], strict=True) if is_closed)
        return _all(self.equal(gold, link) for link in (links[-1], *others))

    def _evaluated(self, gold: Answer, answer: Relation) -> bool | None:
        """`m + n = 113` where 113 is the gold answer."""
        return self._links(gold, (answer.left, answer.value)) if answer.value is not None else False

    def _value(self, gold: Statement, answer: Answer) -> bool | None:
        return self.equal(gold.values[-1], answer)

    def _statements(self, gold: Statement, answer: Statement) -> bool | None:
        if gold.name == answer.name or not (_is_variable(gold.name) and _is_variable(answer.name)):
            return self._chain(gold.values[-1], answer)
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

    def _choices(self, gold: Choice, answer: Choice) -> bool:
        return gold.letter.casefold() == answer.letter.casefold()

    def _letter(self, gold: Choice, answer: Formula) -> bool:
        return len(answer.tokens) == 1 and answer.tokens[0].casefold() == gold.letter.casefold()

    def _lettered(self, gold: Formula, answer: Choice) -> bool:
        return len(gold.tokens) == 1 and gold.tokens[0].casefold() == answer.letter.casefold()


RULES: dict[tuple[type, type], Callable[..., bool | None]] = {
    (Formula, Formula): Comparison._formula,
    (Words, Words): lambda _, gold, answer: gold == answer,
    (Words, Formula): Comparison._spelt,
    (Formula, Words): lambda self, gold, answer: self._spelt(answer, gold),
    (Choice, Choice): Comparison._choices,
    (Choice, Formula): Comparison._letter,
    (Formula, Choice): Comparison._lettered,
    (Items, Items): Comparison._items,
    (Statement, Statement): Comparison._statements,
    (Relation, Relation): Comparison._relation,
    (Statement, Relation): Comparison._stated,
    (Relation, Statement): Comparison._restated,
    (Formula, Relation): Comparison._evaluated,
    (Items, Relation): Comparison._evaluated,
}

# Brackets that say the same: `1, 2` may stand for (1, 2) or for a set; alternatives, as of `x = 1 or x = 2`, for a set
# only, for (1, 2) is a point or an interval.
COMPATIBLE = ({BARE, "("}, {BARE, r"\{"}, {BARE, ALTERNATIVES}, {ALTERNATIVES, r"\{"})


def _is_simple(formula: Formula) -> bool:
    """Whether it is a rational number or a single variable, which are equal only if they are the same."""
    return formula.value is not None or (formula.node is not None and formula.node.operation == "symbol")


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
        if answer.opening != BARE:
            return None
        named = {item.name: item for item in answer.items if isinstance(item, Statement) and item.name}
        return dict(named) if len(named) == len(answer.items) else None
    if not isinstance(answer, Statement) or answer.name[:1] != ("(",) or len(answer.values) != 1:
        return None
    names, value = answer.name[1:-1:2], answer.values[0]
    if not isinstance(value, Items) or value.opening != "(" or len(value.items) != len(names):
        return None
    return {(name,): item for name, item in zip(names, value.items, strict=True)}


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
