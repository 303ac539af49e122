r"""Compare two answers: True if they are equal, False if not, None if only a computer algebra system can tell.

Numbers are equal if they are exactly equal. A rounded decimal is not the fraction it was rounded from: 0.333 is not
1/3, while 0.5 is 1/2 and 0.(3) is 1/3. One side may omit the unit. Units that contradict each other make answers
unequal, and so do words that may be more than a unit. A percentage equals the plain number of its value (50 % is 0.5)
or, above 1, the number as it is written (50 % for 50). A number of degrees equals the plain number, or its value with
\pi/180 for each degree.

Tuples, intervals, sequences and matrices are equal item by item; sets, unions, alternatives ("x = 1 or x = 2",
"±3") and bare lists in any order. A bare list with a repeated element is a sequence; `asked.py` finds in the question
which other lists are.
"""

import re
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import get_args

from grpo_jax.rewards.mathematics import groups, measures, moments, vectors
from grpo_jax.rewards.mathematics.answer import (
    BARE,
    NAMED,
    RATIO,
    Answer,
    Asked,
    Choice,
    Family,
    General,
    Items,
    Progressions,
    Relation,
    Residue,
    Statement,
    Time,
    Words,
    as_vector,
)
from grpo_jax.rewards.mathematics.expression import Node
from grpo_jax.rewards.mathematics.formula import Formula
from grpo_jax.rewards.mathematics.generated import coordinates, progressions
from grpo_jax.rewards.mathematics.named_values import by_name, is_circular, names_in, of_letter
from grpo_jax.rewards.mathematics.naming import is_quantity, is_variable, name_of
from grpo_jax.rewards.mathematics.nouns import may_be_of
from grpo_jax.rewards.mathematics.pieces import same_pieces
from grpo_jax.rewards.mathematics.quantities import Quantities, Same
from grpo_jax.rewards.mathematics.same_name import NO_NAME, contradict, is_shifted, of_same_quantity
from grpo_jax.rewards.mathematics.truth import all_of, any_of
from grpo_jax.rewards.mathematics.units import NEVER
from grpo_jax.rewards.mathematics.work import spend

SameRelation = Callable[[Relation, Relation], bool | None]
SameSpaces = Callable[[Sequence[Node], Sequence[Node], frozenset[str]], bool | None]
SameProgressions = Callable[[Progressions, Progressions], bool | None]


class Equality:
    """Compare answers, given how to compare formulas that are not rational numbers (by default: only as texts)."""

    def __init__(
        self,
        formulas: Same = lambda gold, answer: None,
        relations: SameRelation = lambda gold, answer: None,
        spaces: SameSpaces = lambda gold, answer, known: None,
        progressions: SameProgressions = lambda gold, answer: None,
    ):
        self._quantities = Quantities(formulas)
        self._relations = relations
        self._spaces = spaces
        self._progressions = progressions

    def equal(self, gold: Answer, answer: Answer) -> bool | None:
        """Return whether an answer is the gold one.

        The relation is not symmetric: the answer may omit the name that the gold answer has.
        """
        spend(2)
        if gold == answer:
            return True
        if isinstance(answer, Statement | Items) and (theirs := by_name(answer)):
            ours = by_name(gold)
            if ours:  # (a, b) = (1, 2) and (b, a) = (2, 1), or b = 2, a = 1
                pairs = [(value, theirs.get(of_same_quantity(name, theirs))) for name, value in ours.items()]
                return len(ours) == len(theirs) and all_of(
                    other is not None and self.equal(value, other) for value, other in pairs
                )
            if not _is_of(answer, NAMED) and list(theirs) != sorted(theirs):  # (1, 2) is (x, y), and not (y, x)
                return False
        return RULE_OF[type(gold), type(answer)](self, gold, answer)

    def _asked(self, gold: Asked, answer: Answer) -> bool | None:
        """Return whether an answer has the gold value, and does not name another quantity."""
        quantity = gold.quantity
        solved = len(quantity.tokens) > 1  # an equation that is solved for a letter is a statement
        known = frozenset[str]() if NO_NAME in quantity.tokens else quantity.variables
        match answer:
            case Relation("=", left, _, value) if value is not None and may_be_of(quantity.tokens, left.tokens):
                return self._links(gold.value, [value])  # \\max xy, where a maximum is asked for
            case Relation("=", left, _, value) if value is not None and left.variables & known:
                return solved and self._is_quantity(quantity, left) and self.equal(gold.value, value)
            case Relation("=", left, right) if right.variables & known:
                return solved and self._is_quantity(quantity, right) and self.equal(gold.value, left)
            case Statement((), (Formula(value=None) as first, *others)) if others and may_be_of(
                quantity.tokens, first.tokens
            ):
                return self._links(gold.value, others)  # \\cos x, where a cosine is asked for
            case Statement((), (Formula() as first, *others)) if others and first.variables & known:
                return self._is_quantity(quantity, first) and self._links(gold.value, others)
        name = tuple(text for text in name_of(quantity.tokens) if len(text) == 1 or text[0] == "\\")
        if any(contradict(name_of(quantity.tokens), other) for other in names_in(answer)):
            return False
        if isinstance(answer, Statement):
            answer = of_letter(name, answer)
        if len(name) == 1 and is_variable(name):
            answer = _solution(gold.value, answer)
        if len(name) == 1 and _is_of(gold.value, BARE) and _is_of(answer, "(", "["):
            return False  # (2, 3) is one point, or all that lies between
        return self.equal(gold.value, answer)

    def _is_quantity(self, quantity: Formula, given: Formula) -> bool | None:
        """Return whether an expression is the one that was asked for; by its text if our grammar cannot read it."""
        known = quantity.node is not None and given.node is not None
        return self.equal(quantity, given) if known else name_of(quantity.tokens) == name_of(given.tokens)

    def _residue(self, gold: Residue, answer: Answer) -> bool | None:
        """Return whether both are the same remainder. If the question asks for it alone, `(mod 7)` may be omitted."""
        if not isinstance(answer, Residue):
            return self.equal(gold.value, answer) if gold.is_least else self._same_members(gold, answer)
        if gold.name and answer.name and gold.name != answer.name:
            return False
        same_modulus = self.equal(gold.modulus, answer.modulus)
        match gold.value, answer.value, gold.modulus.value:
            case Formula(value=Fraction() as one), Formula(value=Fraction() as other), Fraction() as modulus if (
                not gold.is_least
            ):
                return same_modulus and modulus != 0 and (one - other) % modulus == 0
        return all_of((same_modulus, self.equal(gold.value, answer.value)))

    def _general(self, gold: Answer, answer: Answer) -> bool | None:
        """Return whether they are equal for all whole numbers, whatever letter stands for these."""
        if isinstance(gold, General) and isinstance(answer, General):
            equal = gold.of == answer.of and self.equal(gold.of_k, answer.of_k)
            return equal or any_of((equal, self._same_members(gold, answer)))
        ours = (gold.plain, gold.of_k) if isinstance(gold, General) else (gold,)
        theirs = (answer.plain, answer.of_k) if isinstance(answer, General) else (answer,)
        equal = any_of(self.equal(one, other) for one in ours for other in theirs)
        return equal or any_of((equal, isinstance(gold, General) and self._same_members(gold, answer)))

    def _same_members(self, gold: General | Residue, answer: Answer) -> bool | None:
        ours, theirs = progressions(gold), progressions(answer)
        return self._progressions(ours, theirs) if ours and theirs and not _of_others(gold, answer) else False

    def _family(self, gold: Family, answer: Answer) -> bool | None:
        """Return whether an answer describes the same family as its constants vary."""
        equal = self.equal(gold.value, answer)
        ours, theirs = coordinates(gold.value), coordinates(answer)
        if equal or not ours or not theirs or len(ours) != len(theirs) or _of_others(gold.value, answer):
            return equal
        return any_of((equal, self._spaces(ours, theirs, gold.known)))

    def _formula(self, gold: Formula, answer: Formula) -> bool | None:
        if not vectors.DRAWN.isdisjoint((*gold.tokens, *answer.tokens)):
            ours, theirs = (vectors.components(one, 3) for one in (gold, answer))
            if ours and theirs:
                return self._items(ours, theirs)
        return self._quantities.same(gold, answer)

    def _items(self, gold: Items, answer: Items) -> bool | None:
        same = groups.same_items(self.equal, gold, answer)
        return same or any_of((same, same_pieces(self.equal, gold, answer)))

    def _quotient(self, gold: Items, answer: Formula) -> bool | None:
        return groups.same_as_formula(self.equal, gold, answer)

    def _components(self, gold: Formula, answer: Items) -> bool | None:
        if gold.measure == measures.RATIO and answer.opening == RATIO:
            return self._quotient(answer, gold)
        parts = vectors.components(gold, len(as_vector(answer).items))
        return parts is not None and self._items(parts, answer)

    def _time(self, gold: Time | Items, answer: Time | Items) -> bool:
        ratio, time = (gold, answer) if isinstance(gold, Items) else (answer, gold)
        return isinstance(ratio, Items) and isinstance(time, Time) and moments.may_be(ratio, time)

    def _chain(self, gold: Answer, answer: Statement) -> bool | None:
        if (is_shifted(answer.name) and _variables(gold)) or is_circular(answer):
            return False  # a_{n+1} = 2^n does not give a_n, and x = 2x + 1 does not give x
        return self._links(gold, answer.values, named=bool(answer.name))

    def _links(self, gold: Answer, links: Sequence[Answer], named: bool = True) -> bool | None:
        r"""Return whether `x = 2 + 3 = 5` or `A = \pi r^2 = 9\pi` ends with the gold answer.

        Every other link must equal the gold answer too, or the chain is wrong somewhere. Only links with variables that
        the gold answer does not have may be anything. If no name comes first, the first link must be a quantity that
        can have been asked for: m + n = 113 gives the value of m + n, but 3x = 15 has not been solved.
        """
        known = gold.variables if isinstance(gold, Formula) else frozenset[str]()
        closed = [not isinstance(link, Formula) or link.variables <= known for link in links]
        opened = links[closed.index(False)] if not named and False in closed else None
        if isinstance(opened, Formula) and not is_quantity(opened.tokens):
            return False
        if closed == [True, False]:  # 113 = m + n
            return self.equal(gold, links[0])
        others = (link for link, is_closed in zip(links[:-1], closed[:-1], strict=True) if is_closed)
        return all_of(self.equal(gold, link) for link in (links[-1], *others))

    def _evaluated(self, gold: Answer, answer: Relation) -> bool | None:
        """Return whether `m + n = 113` gives the gold answer 113."""
        return self._links(gold, (answer.left, answer.value), named=False) if answer.value is not None else False

    def _value(self, gold: Statement, answer: Answer) -> bool | None:
        value = gold.values[-1]
        return self.equal(value, _solution(value, answer) if is_variable(gold.name) else answer)

    def _statements(self, gold: Statement, answer: Statement) -> bool | None:
        if gold.name == answer.name:
            return self._chain(gold.values[-1], answer)
        if not (is_variable(gold.name) and is_variable(answer.name)):
            return not contradict(gold.name, answer.name) and self._chain(gold.values[-1], of_letter(gold.name, answer))
        if gold.relation is None or answer.relation is None:
            return False
        if gold.relation.right.value is not None and answer.relation.right.value is not None:
            return False  # x = 5 and y = 5
        return self._relations(gold.relation, answer.relation)

    def _relation(self, gold: Relation | Statement, answer: Relation | Statement) -> bool | None:
        ours, theirs = (one.relation if isinstance(one, Statement) else one for one in (gold, answer))
        return self._relations(ours, theirs) if ours and theirs and ours.sign == theirs.sign else False

    def _words(self, gold: Words, answer: Words) -> bool:
        """Return whether words are the gold ones, or a sentence that ends with them: "the function is odd"."""
        subject, verb, said = answer.text.rpartition(" is ")
        return gold == answer or (bool(verb) and said == gold.text and NEVER.isdisjoint(subject.split()))

    def _spelt(self, words: Words, formula: Formula) -> bool:
        r"""Return whether \text{II} is II, though letters without a command are variables."""
        return words.text == "".join(formula.tokens).casefold()

    def _option(self, gold: Choice, answer: Words) -> bool:
        """Return whether words are the option's, with or without its letter."""
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


Rule = Callable[..., bool | None]
# The rules by the types of the gold answer and the answer. The first that fits compares them.
RULES: tuple[tuple[type, type, Rule], ...] = (
    (Asked, object, Equality._asked),
    (Family, object, Equality._family),
    (Residue, object, Equality._residue),
    (General, object, Equality._general),
    (object, Residue, lambda *_: False),
    (object, General, Equality._general),
    (Formula, Formula, Equality._formula),
    (Choice, Words, Equality._option),
    (Words, Words, Equality._words),
    (Words, Formula, Equality._spelt),
    (Formula, Words, lambda self, gold, answer: self._spelt(answer, gold)),
    (Choice, Choice, Equality._choices),
    (Items, Items, Equality._items),
    (Items, Formula, Equality._quotient),
    (Formula, Items, Equality._components),
    (Items, Time, Equality._time),
    (Time, Items, Equality._time),
    (Statement, Statement, Equality._statements),
    (Relation, Relation, Equality._relation),
    (Statement, Relation, Equality._relation),
    (Relation, Statement, Equality._relation),
    (Formula, Relation, Equality._evaluated),
    (Items, Relation, Equality._evaluated),
    (object, Statement, Equality._chain),
    (Statement, object, Equality._value),
    (Choice, object, Equality._without_letter),
    (object, Choice, Equality._lettered),
    (object, object, lambda *_: False),
)


RULE_OF = {
    (gold, answer): next(rule for ours, theirs, rule in RULES if issubclass(gold, ours) and issubclass(answer, theirs))
    for gold in get_args(Answer)
    for answer in get_args(Answer)
}


def _of_others(gold: Answer, answer: Answer) -> bool:
    """Return whether an answer names another quantity than the gold one."""
    return any(
        contradict(name, other) for name in names_in(gold) for other in names_in(answer) if len(name) == len(other) == 1
    )


def _is_of(answer: Answer, *openings: str) -> bool:
    return isinstance(answer, Items) and answer.opening in openings


def _solution(gold: Answer, answer: Answer) -> Answer:
    r"""Return the only element of a set such as \{4\} if the gold answer is not a set; other answers unchanged."""
    match gold, answer:
        case Formula(), Items(r"\{", _, (solution,)):
            return solution
    return answer


def _variables(answer: Answer) -> frozenset[str]:
    return answer.variables if isinstance(answer, Formula) else frozenset()


AT_ONCE = Equality()  # compares in this process only
