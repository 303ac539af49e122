r"""Compare two numbers or expressions in any units: 50\% and 0.5, 90^\circ and \pi/2."""

from collections.abc import Callable
from fractions import Fraction

from grpo_jax.rewards.mathematics import measures, units
from grpo_jax.rewards.mathematics.answer import INFINITE, MINUS_INFINITE
from grpo_jax.rewards.mathematics.expression import DEGREE as ONE_DEGREE
from grpo_jax.rewards.mathematics.expression import Node
from grpo_jax.rewards.mathematics.formula import Formula, swapped
from grpo_jax.rewards.mathematics.truth import any_of
from grpo_jax.rewards.mathematics.units import ANGLES, DEGREE, PERCENT, RADIAN

Same = Callable[[Formula, Formula], bool | None]

CONSTANT = Node("symbol", name="C")
CONSTANT_NAMES = frozenset("cKkDA")
INFINITIES = frozenset((INFINITE.node, MINUS_INFINITE.node))  # each equals only itself


class Quantities:
    """Compare formulas with their units, given how to compare formulas that are not rational numbers."""

    def __init__(self, formulas: Same):
        self._formulas = formulas

    def same(self, gold: Formula, answer: Formula) -> bool | None:
        """Return whether an answer is the gold one; None if that depends on `formulas`, which cannot tell."""
        if gold.tokens == answer.tokens:
            return True
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
            return any_of((as_numbers, as_written))
        if gold.measure == measures.PERCENTAGE:
            return as_written
        whole = gold.value is not None and gold.value.denominator == 1
        if gold.measure in (measures.NUMBER, measures.PLAIN):
            return not whole and as_numbers
        if gold.measure or gold.value is None or abs(gold.value) <= 1:
            return as_numbers  # 0.5 is not 0.5 %, and 1 not 1 %
        return any_of((as_numbers, as_written))

    def _angles(self, gold: Formula, answer: Formula) -> bool | None:
        r"""Compare degrees and radians: 90 is 90^\circ, which is \pi/2; 90 radians are not."""
        in_radians = self._magnitudes(_radians(gold), _radians(answer))
        if RADIAN in (gold.unit, answer.unit):
            plain_radians = answer.unit == RADIAN and gold.unit is None and gold.value is not None
            return False if plain_radians else in_radians
        if gold.unit is None and gold.value is None and not gold.variables:
            return in_radians
        return (
            any_of((self._magnitudes(gold, answer), in_radians))
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


def _of_constant(gold: Formula, answer: Formula) -> Formula:
    """Return x^2 + c as x^2 + C, or Ke^x as Ce^x, if that is the gold answer: a constant may have any of its names."""
    node = gold.node
    if node is None or CONSTANT not in node.arguments or "C" in answer.variables:
        return answer
    if node.operation != "sum" and not (node.operation == "product" and len(gold.variables) > 1):
        return answer
    others = answer.variables - gold.variables
    return swapped(answer, min(others), "C") if len(others) == 1 and others <= CONSTANT_NAMES else answer


def _measured(gold: Formula, answer: Formula) -> tuple[Formula, Formula]:
    """Return both formulas. Letters after a number are read as a unit if the other formula only fits that reading."""
    if answer.measured is not None and answer.measured.unit is not None and not gold.variables:
        if gold.unit is None and not answer.measured.unit.sure:  # 5m, of which m may be a variable
            return gold, answer
        return gold, answer.measured
    if gold.measured is not None and answer.unit is not None:
        return gold.measured, answer
    return gold, answer


def _is_simple(formula: Formula) -> bool:
    """Return whether it is a rational number or a single variable, which are equal only if they are the same."""
    return formula.value is not None or (formula.node is not None and formula.node.operation == "symbol")


def _radians(formula: Formula) -> Formula:
    if formula.unit != DEGREE or formula.node is None:
        return Formula(formula.tokens, formula.node, formula.value)
    return Formula(
        formula.tokens, Node("product", (formula.node, ONE_DEGREE)), Fraction(0) if formula.value == 0 else None
    )


def _plain(formula: Formula) -> Formula:
    """Return the same quantity without its unit: 50 % as 0.5, 5 cm as 0.05."""
    if formula.unit is None or formula.node is None:
        return formula
    factor = formula.unit.factor
    value = None if formula.value is None else formula.value * factor
    return Formula(formula.tokens, Node("product", (formula.node, Node("number", value=factor))), value)
