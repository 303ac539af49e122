"""The simple rewards, their sum, and how they are made from a configuration."""

import subprocess
import sys
from dataclasses import replace

import pytest

from grpo_jax.config import ConfigError, may_judge, reward_range
from grpo_jax.config.reward_terms import KNOWN
from grpo_jax.config.smoke import TIES
from grpo_jax.rewards import REWARDS, UNSCORED, Verdict, chains, extraction, make_reward
from tests.helpers import ROOT
from tests.rewards.helpers import BACKTRACKING, ENDLESS, attempt, boxed, make_config

MAX_NEW_TOKENS = 100


def reward(terms, **changes):
    return make_reward(make_config(terms=terms, **changes), MAX_NEW_TOKENS)


def judge(terms, *attempts, **changes):
    return reward(terms, **changes).judge(attempts)


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """Writes a module of the user's own."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(text):
        (tmp_path / "my_rewards.py").write_text(text)
        monkeypatch.delitem(sys.modules, "my_rewards", raising=False)

    return write


def test_exact_is_of_texts():
    found = judge({"exact": 1.0}, boxed("1/2", " 1/2 "), boxed("1/2", "0.5"), attempt("1/2", "1/2"))
    assert [verdict.right for verdict in found] == [True, False, False]
    assert [verdict.answer for verdict in found] == [" 1/2 ", "0.5", None]


@pytest.mark.parametrize(
    ("gold", "answer", "right"),
    [
        ("1/3", r"\frac{2}{6}", True),
        ("1/3", "0.3333333", True),  # within 1e-6
        ("1/3", "0.333", False),
        ("100000000", "100000001", False),  # whole numbers are exact
        ("1000000000.5", "1000000000.6", True),
        ("5", r"5\text{ cm}", True),
        ("5", "x=5", True),
        ("5", "2+3", False),  # the question over again
        ("5", r"\frac{20}{4}", False),  # and work left undone
        ("5", "five", True),
        ("5", "a few", False),
        ("5", "", False),
        ("5", "5\x00", False),
        ("0", "0.0000001", False),
    ],
)
def test_numeric_is_of_values(gold, answer, right):
    (verdict,) = judge({"numeric": 1.0}, boxed(gold, answer))
    assert verdict == Verdict(float(right), answer, right=right)


def test_numeric_leaves_unscored_only_what_no_answer_could_change():
    made = reward({"numeric": 1.0})
    golds = [boxed("a few", "5"), boxed("9^{9^{9}}", "5"), boxed("1" * 2000, "5")]
    assert made.judge(golds) == [UNSCORED] * 3
    assert made.unscored == {"numeric.unparsable_gold": 1, "numeric.too_large": 2}
    answers = made.judge([boxed("5", "9^{9^{9}}"), boxed("5", "1" * 2000), boxed("5", "(" * 500 + "5")])
    assert [(verdict.scored, verdict.right) for verdict in answers] == [(True, False)] * 3


@pytest.mark.parametrize(
    ("completion", "stopped", "worth"),
    [
        (r"\boxed{5}", True, 1),
        (r"\boxed{5}", False, 0),
        (r"\boxed{5} \boxed{6}", True, 0),
        (r"\boxed{ }", True, 0),
        (r"\boxed{5", True, 0),
        ("5", True, 0),
    ],
)
def test_boxed_format_wants_one_box_in_a_completion_that_ended(completion, stopped, worth):
    (verdict,) = judge({"boxed_format": 1.0}, attempt("7", completion, stopped=stopped))
    assert (verdict.reward, verdict.right) == (worth, None)


@pytest.mark.trap(5)
@pytest.mark.parametrize(("tokens", "worth"), [(1, 0), (80, 0), (81, -0.05), (90, -0.5), (100, -1), (120, -1)])
def test_overlong_goes_down_linearly_along_the_buffer(tokens, worth):
    (verdict,) = judge({"overlong": 1.0}, attempt("5", "five" * 1000, tokens=tokens), overlong_tokens=20)
    assert verdict == Verdict(pytest.approx(worth), None)


@pytest.mark.parametrize("buffer", [0, 101])
def test_overlong_wants_a_buffer(buffer):
    with pytest.raises(ConfigError, match=rf"^task.reward.overlong_tokens={buffer}: .*max_new_tokens=100"):
        reward({"overlong": 1.0}, overlong_tokens=buffer)


def test_last_value_is_what_the_task_says():
    attempts = [attempt("5", "2+3=5"), attempt("5", "5", stopped=False), attempt("5", "4")]
    found = judge({"last_value": 1.0}, *attempts)
    assert found == [chains.last_value(each) for each in attempts]
    assert [verdict.right for verdict in found] == [True, False, False]


def test_a_sum_is_weighted():
    (verdict,) = judge(
        {"overlong": 0.5, "exact": 2.0, "boxed_format": 0.25}, replace(boxed("5", "5"), tokens=90), overlong_tokens=20
    )
    assert verdict == Verdict(0.5 * -0.5 + 2.0 + 0.25, "5", right=True)


@pytest.mark.trap(16)
def test_a_sum_is_scored_only_where_all_its_terms_are():
    found = judge({"exact": 1.0, "numeric": 1.0}, boxed("a few", "a few"), boxed("5", "5"))
    assert [verdict.scored for verdict in found] == [False, True]
    assert [verdict.reward for verdict in found] == [0.0, 2.0]
    assert found[0].right is None  # though one term knows: an evaluation counts as wrong what has no verdict


def test_a_function_of_ones_own(mine):
    mine("def length(attempt):\n    return len(attempt.completion) / 10\n")
    assert judge({"my_rewards:length": 2.0}, attempt("5", "12345")) == [Verdict(1.0, None, right=False)]


def test_a_function_of_ones_own_may_return_a_verdict(mine):
    """So a score need not say what is right, and 1 need not be the least that is right."""
    mine(
        "from grpo_jax.rewards import Verdict\n"
        "def score(attempt):\n    return Verdict(3.0, None)\n"
        "def strict(attempt):\n    return Verdict(3.0, 'five', right=False)\n"
    )
    assert judge({"my_rewards:score": 1.0}, boxed("5", "5")) == [Verdict(3.0, "5", right=None)]
    assert judge({"my_rewards:strict": 1.0}, boxed("5", "5")) == [Verdict(3.0, "five", right=False)]
    assert judge({TIES: 1.0}, boxed("5", "5"))[0].right is None


@pytest.mark.parametrize(
    ("code", "clause"),
    [
        ("async def mine(attempt):\n    return 1.0\n", "is asynchronous (async def)"),
        ("def mine(attempt):\n    yield 1.0\n", "is a generator"),
        ("def mine(completions, answers):\n    return 1.0\n", "cannot be called with one argument, (completions, an"),
        ("def mine(*, attempt):\n    return 1.0\n", "cannot be called with one argument"),
        ("class mine:\n    def __init__(self, attempt):\n        pass\n", "is a class"),
    ],
)
def test_a_function_that_cannot_judge_an_attempt_is_refused(mine, code, clause):
    mine(code)
    with pytest.raises(ConfigError) as caught:
        reward({"my_rewards:mine": 1.0})
    assert str(caught.value).startswith(f"task.reward.terms='my_rewards:mine': {clause}")


def test_what_is_known_of_a_reward_without_judging():
    assert KNOWN.keys() - {TIES} == REWARDS.keys()
    assert {name for name in REWARDS if not may_judge(make_config(terms={name: 1.0}))} == {"boxed_format", "overlong"}
    assert may_judge(make_config(terms={"math:sqrt": 1.0}))
    for terms, ends in (
        ({"exact": 1.0, "boxed_format": 0.5}, (0.0, 1.5)),
        ({"exact": 1.0, "overlong": 0.5, "boxed_format": -2.0}, (-2.5, 1.0)),
        ({"exact": 1.0, "math:sqrt": 1.0}, None),
    ):
        assert reward_range(make_config(terms=terms)) == ends


@pytest.mark.trap(16)
@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("raise KeyError(3)", "KeyError"),
        ("raise SystemExit(3)", "SystemExit"),
        ("return float('nan')", "not_finite"),
        ("return float('inf')", "not_finite"),
        ("return 'many'", "ValueError"),
        ("return None", "TypeError"),
    ],
)
def test_a_function_that_fails_leaves_attempts_unscored_and_says_so_once(mine, caplog, body, reason):
    mine(f"def mine(attempt):\n    if attempt.gold == '6':\n        return 1\n    {body}\n")
    made = reward({"my_rewards:mine": 1.0})
    found = made.judge([attempt("5", "5"), attempt("6", "6"), attempt("5", "5")])
    assert [verdict.scored for verdict in found] == [False, True, False]
    assert made.unscored == {f"my_rewards:mine.{reason}": 2}
    assert len(caplog.records) == (reason != "not_finite")
    assert ("returned None" in caplog.text) == (body == "return None")


@pytest.mark.parametrize(
    ("terms", "sentence"),
    [
        ({}, "task.reward.terms={}: must have at least one term"),
        ({"mathematic": 1.0}, "task.reward.terms='mathematic': no such reward; did you mean mathematics?"),
        ({"exact": 0.0}, "task.reward.terms.exact=0.0: must be from 1e-12 to 1e12, or the same below 0."),
        ({"exact": -1e-20}, "task.reward.terms.exact=-1e-20: must be from 1e-12 to 1e12"),
        ({"exact": float("inf")}, "task.reward.terms.exact=inf: must be from 1e-12 to 1e12"),
        ({"exact": float("nan")}, "task.reward.terms.exact=nan: must be from 1e-12 to 1e12"),
        ({"nowhere.at.all:f": 1.0}, "task.reward.terms='nowhere.at.all:f': cannot be imported (ModuleNotFoundError"),
        ({"math:nothing": 1.0}, "task.reward.terms='math:nothing': math has no 'nothing'; define it there"),
        ({"math:pi": 1.0}, "task.reward.terms='math:pi': is not a function"),
    ],
)
def test_terms_that_cannot_be(terms, sentence):
    with pytest.raises(ConfigError) as caught:
        reward(terms)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_module_of_ones_own_that_cannot_be_imported(mine):
    mine("1 / 0\n")
    with pytest.raises(ConfigError, match="ZeroDivisionError"):
        reward({"my_rewards:mine": 1.0})


@pytest.mark.parametrize("term", ["mathematics", "mathematics_any_form", "exact", "numeric", "my_rewards:mine"])
def test_a_completion_whose_answer_takes_too_long_to_find_is_unscored(term, mine, monkeypatch):
    monkeypatch.setattr(extraction, "SEARCH_SECONDS", 0.1)
    mine("def mine(attempt):\n    return 1.0\n")
    made = reward({term: 1.0}, answer_pattern=BACKTRACKING)
    verdicts = made.judge([attempt("2", text) for text in ("12", ENDLESS, "2")])
    assert [(verdict.scored, verdict.answer) for verdict in verdicts] == [(True, "2"), (False, None), (True, "2")]
    assert made.unscored == {f"{term}.slow_pattern": 1}


@pytest.mark.parametrize("pattern", ["(", "answer: .*", "(a)(b)", "(?|(a)|(b))"])
def test_patterns_that_cannot_be(pattern):
    with pytest.raises(ConfigError, match=r"^task.reward.answer_pattern="):
        reward({"exact": 1.0}, answer_pattern=pattern)


def test_making_and_closing_a_reward_starts_nothing():
    made = reward(dict.fromkeys(REWARDS, 1.0), overlong_tokens=10)
    made.close()
    made.close()


@pytest.mark.trap(37)
def test_importing_rewards_imports_neither_jax_nor_sympy():
    code = "import sys, grpo_jax.rewards; print({'jax', 'sympy', 'math_verify', 'mpmath'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert run.stdout.strip() == "set()"


def test_a_sum_says_what_it_was_made_of():
    (found,) = judge({"exact": 1.0, "boxed_format": 0.5}, boxed("1/2", "0.5"))
    assert found.reward == 0.5
    assert found.terms == {"exact": 0.0, "boxed_format": 1.0}
