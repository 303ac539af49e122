"""Partial credit: right lines of a wrong completion, read from whatever a model writes."""

import ast
import operator
import random
from functools import partial

import pytest

from grpo_jax.config import ModularExpressionsConfig
from grpo_jax.data import Split
from grpo_jax.data.tasks import ModularExpressions
from grpo_jax.rewards import PerAttempt, chains
from tests.rewards.helpers import attempt, takes_at_most

OPERATORS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul}


@pytest.mark.parametrize(
    ("completion", "stopped", "reward"),
    [
        ("8+(8+0)=8+8=6", True, 1),
        ("nonsense=6", True, 1),  # what is right is said by the answer alone
        ("8+(8+0)=8+8=5", True, 1 / 3),
        ("8+(8+1)=8+8=5", True, 1 / 6),
        ("8+(8+0)=8+8=16", True, 1 / 2),  # the answer is no digit, but a right line
        ("8+8=", True, 1 / 4),
        ("7", True, 0),
        ("", True, 0),
        ("=", True, 0),
        ("6=7", True, 1 / 4),
        ("8+(8+0)=8+8=6", False, 1 / 2),  # cut off
        ("8+(8+0)=8+(", False, 1 / 4),
        ("6=" * 1000 + "7", True, 1 / 2 * 1000 / 1001),  # never as much as a right answer
    ],
)
def test_what_a_completion_is_worth(completion, stopped, reward):
    verdict = chains.partial_credit(attempt("6", completion, stopped=stopped), modulus=10)
    assert verdict.reward == pytest.approx(reward)
    assert verdict.right == (reward == 1)
    assert verdict.scored


def test_values_are_pythons():
    """Random expressions with and without brackets, checked by Python's parser."""

    def expected(node):
        return node.value if isinstance(node, ast.Constant) else OPERATORS[type(node.op)](
            expected(node.left), expected(node.right)
        )  # fmt: skip

    def draw(depth):
        if depth == 0 or rng.random() < 0.2:
            return str(rng.randrange(30))
        text = rng.choice("+-*").join(draw(depth - 1) for _ in range(rng.randint(2, 4)))
        return f"({text})" if rng.random() < 0.5 else text

    rng = random.Random(0)
    for _ in range(300):
        text, modulus = draw(3), rng.randint(2, 10)
        assert chains.value_of(text, modulus) == expected(ast.parse(text, mode="eval").body) % modulus, text


@pytest.mark.parametrize(
    "line",
    [
        "", " ", "()", "(", ")", ")(", "(1", "1)", "1)+(2", "(1)+2)*(3", "1(2)", "(1)(2)", "(1)2", "1 2", "1 +2", "1+",
        "+1", "-1", "1+-1", "1++2", "*", "1/2", "1**2", "1.5", "1e5", "0x1", "1_0", "x", "6\n", "6\x00", "²", "٣",
        "1+٣", "\ud800", "<eos>", "6" * 19, "1+" + "6" * 5000, "(" * 100_000, ")" * 100_000, "(" * 50_000 + "6",
        "1+" * 50_000, "(" * 50_000 + "6" + ")" * 49_999,
    ],
)  # fmt: skip
def test_what_is_not_an_expression_has_no_value(line):
    assert chains.value_of(line, 10) is None


def test_brackets_and_products_of_any_depth_are_read():
    """A pass over the line: a million characters in seconds, and no number grows."""
    lines = {"(" * 200_000 + "6" + ")" * 200_000: 6, "9*" * 200_000 + "9": 9, "(1+" * 100_000 + "1" + ")" * 100_000: 1}
    for line, value in lines.items():
        assert chains.value_of(line, 10) == value
        assert takes_at_most(20, partial(chains.value_of, line, 10))


def test_nonsense_never_raises():
    """Any text over the task's characters and some others is scored, between 0 and 1/2 unless it is right."""
    rng = random.Random(1)
    texts = ["".join(rng.choices("0123456789()=+-*x²٣ \n", k=rng.randrange(30))) for _ in range(5000)]
    reward = PerAttempt("partial_credit", lambda one: chains.partial_credit(one, modulus=10))
    verdicts = reward.judge([attempt("6", text, stopped=rng.random() < 0.5) for text in texts])
    assert not reward.unscored
    assert all(verdict.right or 0 <= verdict.reward <= 0.5 for verdict in verdicts)
    assert sum(0 < verdict.reward < 1 for verdict in verdicts) > 20


def derived(completion, prompt="8+(8+(4+6))=", gold="6", stopped=True):
    return chains.derivation(attempt(gold, completion, prompt=prompt, stopped=stopped), modulus=10)


@pytest.mark.parametrize(
    ("completion", "right"),
    [
        ("8+(8+0)=8+8=6", True),
        ("8+8=6", False),  # one line is missing
        ("6", False),
        ("8+(8+0)=8+7=6", False),  # a wrong line
        ("8+(8+0)=8+8=5", False),
        ("8+(8+0)=8+8=", False),
        ("8+(8+0)==6", False),
        # Lines of the right value that derive nothing.
        ("6=6=6", False),
        ("8+(8+0)=6=6", False),
        ("(8+8)+0=6+0=6", False),
        ("8+(8+0)=8+(8+0)=8+8=6", False),
        ("8+(8+(4+6))=8+(8+0)=8+8=6", False),
        ("8+(8+0)=8+8=6=6", False),
        ("8+(8+0)=8+8=8+8=6", False),
        ("8+(8+0)=8+8=06", False),
        ("8+(8+00)=8+8=6", False),
        ("8+8+0=8+8=6", False),
        ("8+(8+0)=(8+8)=6", False),
        ("8+(8+0)=9+7=6", False),
        ("8+(8+10)=8+18=6", False),
    ],
)
def test_a_derivation_is_right_with_all_its_lines(completion, right):
    verdict = derived(completion)
    assert (verdict.right, verdict.reward) == (right, float(right))
    assert not derived(completion, stopped=False).right


def test_a_derivation_may_take_either_operation_first():
    prompt = "(7-9)*(3+4)="
    assert derived("8*(3+4)=8*7=6", prompt).right
    assert derived("(7-9)*7=8*7=6", prompt).right
    assert not derived("8*7=6", prompt).right  # both at once
    assert not derived("8*(3+4)=(7-9)*7=8*7=6", prompt).right


def test_every_demonstration_with_all_its_lines_is_a_derivation():
    task = ModularExpressions(
        ModularExpressionsConfig("modular_expressions", 4, "+-*", 10, 50, right="derivation", credit="exact")
    )
    rng = random.Random(0)
    problems = task.problems(Split.TRAIN)
    whole = [attempt(one.answer, task.demonstration(one, 0.0, rng), prompt=one.prompt) for one in problems]
    assert all(verdict.right for verdict in task.reward.judge(whole))
    shorter = [attempt(one.answer, task.demonstration(one, 0.9, rng), prompt=one.prompt) for one in problems]
    missing = [one for one in shorter if one.completion.count("=") < 3]
    assert len(missing) > 40
    assert not any(verdict.right for verdict in task.reward.judge(missing))


def test_partial_credit_goes_with_another_rule_of_what_is_right():
    short = attempt("6", "8+8=6", prompt="8+(8+(4+6))=")
    verify = partial(chains.derivation, modulus=10)
    assert chains.partial_credit(short, modulus=10).reward == 1.0
    assert chains.partial_credit(short, modulus=10, verify=verify).reward == 0.5  # two right lines, where three are due
