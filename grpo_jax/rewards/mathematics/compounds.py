"""Quantities in several units: 1 hour 30 minutes, 5 ft 6 in, 30 degrees and 30 minutes of arc."""

import itertools
from collections.abc import Sequence

from grpo_jax.rewards.mathematics.answer import Answer, Reader
from grpo_jax.rewards.mathematics.brackets import Tokens, texts_of
from grpo_jax.rewards.mathematics.expression import Node
from grpo_jax.rewards.mathematics.formula import Formula, formula
from grpo_jax.rewards.mathematics.notation import Token
from grpo_jax.rewards.mathematics.units import UNITS_BY_KIND

ARC = {"'": "arcminute", "''": "arcsecond", '"': "arcsecond"}
JOINING = frozenset((",", "and"))
COMPOUNDED = ("m", "kg", "s", "money", "degree")
_NAMES = {name for kind in COMPOUNDED for names in UNITS_BY_KIND[kind] for name in names.split()}
SIGNS = frozenset((*ARC, *_NAMES, *(f"{name}s" for name in _NAMES)))
MAX_UNITS = 3


def compound(tokens: Tokens, read: Reader) -> Answer | None:
    """Return a quantity in several units as one number with a unit; None if the tokens are no such quantity."""
    starts = [place for place, token in enumerate(tokens) if token.kind == "number" and token.text.isdigit()]
    if not 1 < len(starts) <= MAX_UNITS or starts[0] != 0:
        return None
    parts = [_part(tokens[start:end]) for start, end in itertools.pairwise([*starts, len(tokens)])]
    units = [part.unit for part in parts if part.value is not None and part.unit is not None and part.unit.kind]
    if len(units) < len(parts) or len({unit.kind for unit in units}) > 1:
        return None
    amounts = [part.value * unit.factor for part, unit in zip(parts, units, strict=True) if part.value is not None]
    if any(amount >= unit.factor for amount, unit in zip(amounts[1:], units, strict=False)):
        return None  # 5 m and 3 m, or 90 minutes and 2 hours
    value = sum(amounts) / units[0].factor
    return Formula(texts_of(tokens), Node("number", value=value), value, units[0])


def _part(tokens: Sequence[Token]) -> Formula:
    """Return a number with its unit."""
    while tokens[-1].text in JOINING:
        tokens = tokens[:-1]
    arc = ARC.get("".join(texts_of(tokens[1:])))
    found = formula([tokens[0], Token("word", arc, spaced=True)] if arc else tokens)
    return found.measured or found
