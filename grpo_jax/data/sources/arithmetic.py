"""One-digit arithmetic, such as "3 + 4 - 2 =". This source needs no file and no network."""

from collections.abc import Mapping
from typing import Any

from grpo_jax.config import ConfigError, SourceConfig
from grpo_jax.data.sources.records import Records

OPERATORS = "+-*"
MOST_TERMS = 6


def open_arithmetic(config: SourceConfig) -> Records:
    """Return all chains of a number of one-digit terms, as in "3 terms of +-". Products come before sums.

    Raises:
      ConfigError: for a path that has another form.
    """
    number, _, operators = config.path.partition(" terms of ")
    if not (number.isdecimal() and 2 <= int(number) <= MOST_TERMS and operators and set(operators) <= set(OPERATORS)):
        raise ConfigError(
            f"path={config.path!r}: must give the number of terms (2 to {MOST_TERMS}) and some of the operators "
            f"{OPERATORS}, as in '3 terms of +-'."
        )
    terms = int(number)

    def read(index: int) -> Mapping[str, Any]:
        return chain(index, terms, operators)

    return Records(10**terms * len(operators) ** (terms - 1), read, lambda index: f"{config.path}, {index}")


def chain(index: int, terms: int, operators: str) -> dict[str, str]:
    """Return the problem with this index, whose digits in a mixed base are the digits and operators of the chain."""
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
