"""What can be said of a reward from its configuration alone: its range, and whether it judges answers at all."""

from collections.abc import Mapping
from typing import NamedTuple

from grpo_jax.config.schema import RewardConfig
from grpo_jax.config.smoke import TIES


class KnownTerm(NamedTuple):
    """A term of the project's own."""

    lowest: float
    highest: float
    judges: bool  # whether it says what is right


KNOWN: Mapping[str, KnownTerm] = {
    **dict.fromkeys(("mathematics", "mathematics_any_form", "exact", "numeric", "last_value"), KnownTerm(0, 1, True)),
    "boxed_format": KnownTerm(0, 1, False),
    "overlong": KnownTerm(-1, 0, False),
    TIES: KnownTerm(0, 1, False),
}


def may_judge(config: RewardConfig) -> bool:
    """Return whether a term may say what is right: one that judges answers, or one of the user's own."""
    return any(name not in KNOWN or KNOWN[name].judges for name in config.terms)


def reward_range(config: RewardConfig) -> tuple[float, float] | None:
    """Return the lowest and the highest reward that the sum allows; None without terms, or with one of the user's."""
    if not config.terms or not config.terms.keys() <= KNOWN.keys():
        return None
    ends = [
        sorted(weight * end for end in (KNOWN[name].lowest, KNOWN[name].highest))
        for name, weight in config.terms.items()
    ]
    return sum(low for low, _ in ends), sum(high for _, high in ends)
