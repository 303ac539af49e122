"""One-digit arithmetic, as in "3 + 4 - 2 =": every problem of a kind. Needs no file and no network."""

from collections.abc import Mapping
from typing import Any

from grpo_jax.config import ConfigError, SourceConfig
from grpo_jax.data.sources.records import Records

OPERATORS = "+-*"
MOST_TERMS = 6


def open_arithmetic(config: SourceConfig) -> Records:
    """All chains of so many one-digit terms, as in "3 terms of +-"; products bind before sums.

    Raises:
      ConfigError: for a path that says anything else.
    """
    number, _, operators = config.path.partition(" terms of ")
    if not (number.isdecimal() and 2 <= int(number) <= MOST_TERMS and operators and set(operators) <= set(OPERATORS)):
        raise ConfigError(
            f"path={config.path!r}: must say how many terms (2 to {MOST_TERMS}) and which of {OPERATORS}, as in "
            "'3 terms of +-'."
        )
    terms = int(number)

    def read(index: int) -> Mapping[str, Any]:
        return chain(index, terms, operators)

    return Records(10**terms * len(operators) ** (terms - 1), read, lambda index: f"{config.path}, {index}")


def chain(index: int, terms: int, operators: str) -> dict[str, str]:
    """The problem of this number: its digits and operators are the digits of the index in mixed base."""
    index, first = divmod(index, 10)
    expression, value, product = str(first), 0, first
    for _ in range(terms - 1):
        index, which = divmod(index, len(operators))
        index, digit = divmod(index, 10)
        expression += f" {operators[which]} {digit}"
        if operators[which] == "*":
            product *= digit
        else:
            value, product = value + product, digit if operators[which] == "+" else -digit
    return {"question": f"{expression} =", "answer": str(value + product)}
