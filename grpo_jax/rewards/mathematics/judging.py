"""Judge any answer, by numeric values or by math-verify. Only workers use this module, because it may never return."""

from grpo_jax.rewards.mathematics import fallback, families, numeric
from grpo_jax.rewards.mathematics.compare import Equality
from grpo_jax.rewards.mathematics.formula import Formula
from grpo_jax.rewards.mathematics.numeric import UndefinedError
from grpo_jax.rewards.mathematics.outcome import Outcome, outcome_by


def outcome_of(gold: str, answer: str | None) -> Outcome:
    """Return the outcome for an answer (see `outcome_by`). An answer that cannot be shown to be equal is wrong."""
    try:
        return outcome_by(gold, answer, EQUALITY) or "wrong"
    except UndefinedError:
        return "unparsable_gold"


def _same_formulas(gold: Formula, answer: Formula) -> bool:
    if gold.node is not None and answer.node is not None:
        return numeric.same_formulas(gold, answer)
    try:
        return fallback.same_formulas(gold, answer)
    except UndefinedError:
        if gold.node is None:
            raise
        return False  # only math-verify cannot read the gold answer


EQUALITY = Equality(_same_formulas, numeric.same_relations, families.same_spaces, families.same_progressions)


def warm() -> None:
    """Load the modules that are loaded at their first use, so that no comparison pays for it."""
    for gold, answer in ((r"\sqrt{2}x", r"\sqrt{3}x"), (r"\sum_{k=1}^{3} k", r"\int_0^1 12x dx")):
        outcome_of(gold, answer)
