"""One-digit arithmetic: all problems of a kind, each once, with their right answers."""

import math

import pytest

from grpo_jax.config import ConfigError, SourceConfig
from grpo_jax.data.sources import read_problems
from grpo_jax.data.sources.arithmetic import chain


def source(path, limit=0):
    return SourceConfig("arithmetic", path, "", "question", "answer", "plain", limit)


@pytest.mark.parametrize(("terms", "operators"), [(2, "+"), (2, "+-*"), (3, "*-"), (3, "+")])
def test_every_problem_is_there_once_and_its_answer_is_right(terms, operators):
    problems = read_problems(source(f"{terms} terms of {operators}"), "task.train")
    assert len(problems) == 10**terms * len(operators) ** (terms - 1)
    for problem in problems:
        expression = problem.prompt.removesuffix(" =")
        assert set(expression) <= set("0123456789 " + operators)
        products = expression.replace("- ", "+ -").split("+")
        assert int(problem.answer) == sum(math.prod(map(int, product.split("*"))) for product in products)
    assert len({problem.prompt for problem in problems}) == len(problems)


def test_products_bind_before_sums():
    assert chain(0, 3, "+") == {"question": "0 + 0 + 0 =", "answer": "0"}
    asked = {chain(index, 3, "-*")["question"]: chain(index, 3, "-*")["answer"] for index in range(4000)}
    assert asked["9 - 2 * 3 ="] == "3"
    assert asked["2 * 3 - 9 ="] == "-3"
    assert asked["1 - 2 - 3 ="] == "-4"


@pytest.mark.parametrize(
    "path", ["", "3 terms", "3 terms of ", "1 terms of +", "7 terms of +", "3 terms of +/", "x terms of +"]
)
def test_what_is_not_a_kind(path):
    with pytest.raises(ConfigError, match=r"^task.train.path=.*must give the number of terms \(2 to 6\)"):
        read_problems(source(path), "task.train")
