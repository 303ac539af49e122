"""The embedded task: expressions, their solutions, their splits and their verdicts."""

import random

import pytest

from grpo_jax.config import ConfigError, ModularExpressionsConfig
from grpo_jax.data import Problem, Split
from grpo_jax.data.tasks.modular_expressions import ModularExpressions, draw, parse, reductions, render
from grpo_jax.rewards import Attempt, chains

PROBLEM = Problem("8+(8+(4+6))=", "6")


def task(operations=3, operators="+-*", modulus=10, credit="exact"):
    return ModularExpressions(
        ModularExpressionsConfig("modular_expressions", operations, operators, modulus, 100, "answer", credit)
    )


def test_the_papers_example():
    expression = parse("8+(8+(4+6))")
    assert reductions(expression, 10) == ["8+(8+0)", "8+8", "6"]
    assert task().demonstration(PROBLEM, 0.0, random.Random(0)) == "8+(8+0)=8+8=6"
    assert task().demonstration(PROBLEM, 1.0, random.Random(0)) == "6"


@pytest.mark.parametrize("operations", [1, 2, 3, 6, 12])
def test_expressions_against_pythons_own_arithmetic(operations):
    """Taking the modulus after every operation or only at the end gives the same, as Python's parser confirms."""
    import ast

    def value(node):
        if isinstance(node, ast.Constant):
            return node.value
        left, right = value(node.left), value(node.right)
        return {ast.Add: left + right, ast.Sub: left - right, ast.Mult: left * right}[type(node.op)]

    rng = random.Random(operations)
    for _ in range(200):
        text = draw(rng, operations, "+-*", 10)
        expression = parse(text)
        assert render(expression) == text
        lines = reductions(expression, 10)
        assert len(lines) == operations
        expected = value(ast.parse(text, mode="eval").body) % 10
        assert {chains.value_of(line, 10) for line in (text, *lines)} == {expected}


@pytest.mark.parametrize("operations", [1, 2, 3, 5])
def test_lengths_are_bounds(operations):
    """No prompt and no full solution is longer than stated, and some are exactly as long."""
    made = task(operations)
    problems = made.problems(Split.TRAIN, 60 if operations == 1 else 300)
    assert {len(problem.prompt) for problem in problems} == {made.max_prompt_tokens}
    solutions = {len(made.demonstration(problem, 0.0, random.Random(0))) + 1 for problem in problems}
    assert solutions == {made.max_solution_tokens}


def test_splits_are_disjoint_and_stable():
    made = task()
    prompts = {split: {problem.prompt for problem in made.problems(split, 400)} for split in Split}
    assert all(len(found) == 400 for found in prompts.values())
    for split in Split:
        for other in set(Split) - {split}:
            assert not prompts[split] & prompts[other]
    assert sum(split.value for split in Split) == 16
    assert PROBLEM.split is Split.WARM_START  # a hash, the same on every machine and in every version
    assert PROBLEM.id == 4215160813


def test_problems_do_not_depend_on_how_many_are_asked_for():
    made = task()
    assert list(made.problems(Split.TEST, 50)) == list(made.problems(Split.TEST, 200))[:50]
    assert made.problems(Split.TEST, 50) == task().problems(Split.TEST, 50)


def test_too_few_problems():
    with pytest.raises(ConfigError, match=r"task\.operations=1: the test split has hardly more than"):
        task(operations=1, operators="+").problems(Split.TEST, 50)
    assert 0 < len(task(operations=1, operators="+").problems(Split.TEST, 50, at_most=True)) < 50


@pytest.mark.parametrize(
    ("completion", "stopped", "reward"),
    [
        ("6", True, 1.0),
        ("8+(8+0)=8+8=6", True, 1.0),
        ("nonsense=6", True, 1.0),  # only what stands behind the last = counts
        ("8+(8+0)=8+8=6", False, 0.0),  # cut off: it might have gone on
        ("8+8=", True, 0.0),
        ("", True, 0.0),
        ("7", True, 0.0),
        ("66", True, 0.0),
        ("6=7", True, 0.0),
    ],
)
@pytest.mark.trap(6)
def test_verdicts(completion, stopped, reward):
    (verdict,) = task().reward.judge([Attempt(PROBLEM.prompt, PROBLEM.answer, completion, stopped, tokens=3)])
    assert verdict.reward == reward
    assert verdict.right == (reward == 1.0)
    assert verdict.scored


def test_partial_credit_is_for_right_lines_and_changes_no_verdict():
    completions = ["8+(8+0)=8+8=6", "8+(8+0)=8+8=5", "8+(8+1)=8+9=7", "7"]
    attempts = [Attempt(PROBLEM.prompt, PROBLEM.answer, text, stopped=True, tokens=3) for text in completions]
    exact, partial = (task(credit=credit).reward.judge(attempts) for credit in ("exact", "partial"))
    assert [verdict.reward for verdict in exact] == [1, 0, 0, 0]
    assert [verdict.reward for verdict in partial] == pytest.approx([1, 1 / 3, 0, 0])
    assert [(v.right, v.answer) for v in partial] == [(v.right, v.answer) for v in exact]
    assert task(modulus=5, credit="partial").reward.judge(attempts[1:2])[0].reward == 0  # 16 is 1 there, not 6


@pytest.mark.parametrize("operators", ["", "+/", "x"])
def test_unknown_operators(operators):
    with pytest.raises(ConfigError, match=r"task.operators=.*: must be some of \+ - \*"):
        task(operators=operators)
