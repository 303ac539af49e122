"""Compare formulas that our grammar cannot read (sums, integrals, limits) by math-verify and sympy. In workers only.

math-verify rounds to absolute decimals, reads `2 3` as 5, lets 9 % be 9, and takes the part that it can parse for the
whole. So only formulas with a command in `formula.BEYOND` come here, decimals become exact fractions before they are
compared, and formulas that it finds equal must also have equal values, to forty digits.
"""

import logging
from typing import Any

import sympy
from math_verify import LatexExtractionConfig, parse, verify

from grpo_jax.rewards.mathematics.formula import Formula
from grpo_jax.rewards.mathematics.numeric import UndefinedError

logging.getLogger("math_verify").setLevel(logging.CRITICAL)  # it would warn that signals are off

EXTRACTION = (LatexExtractionConfig(),)
DIGITS = 60
AGREED = sympy.Rational(1, 10**40)


def same_formulas(gold: Formula, answer: Formula) -> bool:
    """Return whether math-verify finds them equal, and their values agree where they have any.

    Raises:
      UndefinedError: if math-verify cannot parse the gold formula.
    """
    ours = _parsed(gold)
    if ours is None:
        raise UndefinedError("the gold answer cannot be parsed")
    theirs = _parsed(answer)
    if theirs is None:
        return False
    if not verify([ours], [theirs], float_rounding=DIGITS, numeric_precision=DIGITS, timeout_seconds=None):
        return False
    return _values_agree(ours, theirs)


def _parsed(formula: Formula) -> Any:
    found = parse(f"${' '.join(formula.tokens)}$", EXTRACTION, fallback_mode="no_fallback", parsing_timeout=None)
    if len(found) != 1 or not isinstance(found[0], (sympy.Basic, sympy.MatrixBase)):
        return None
    expression = found[0]
    floats = {number: sympy.Rational(str(number)) for number in expression.atoms(sympy.Float)}
    return expression.xreplace(floats)


def _values_agree(gold: Any, answer: Any) -> bool:
    if not (isinstance(gold, sympy.Expr) and isinstance(answer, sympy.Expr)):
        return True
    if gold.free_symbols or answer.free_symbols:
        return True
    ours, theirs = gold.doit().evalf(DIGITS), answer.doit().evalf(DIGITS)
    if not (ours.is_finite and theirs.is_finite):
        return bool(ours == theirs)
    return bool(sympy.Abs(ours - theirs) <= AGREED * sympy.Max(sympy.Abs(ours), sympy.Abs(theirs)))
