"""In which form an answer counts: what is copied from the question, or left unevaluated, is not right."""

import json
from functools import partial
from pathlib import Path

import pytest

from grpo_jax.rewards import Attempt, make_reward
from grpo_jax.rewards.mathematics.form import is_finished
from grpo_jax.rewards.mathematics.reward import Mathematics
from tests.rewards.helpers import boxed, make_config, takes_at_most
from tools.copying import QUESTIONS, stretches

ASKED = [json.loads(line) for line in Path(QUESTIONS).read_text().splitlines()]


def put(question, gold, answer):
    return Attempt(question, gold, rf"Hence \boxed{{{answer}}}.", True, 9)


@pytest.fixture(scope="module")
def finished():
    made = Mathematics(make_config(seconds=20.0))
    yield made
    made.close()


@pytest.fixture(scope="module")
def any_form():
    made = Mathematics(make_config(seconds=20.0), any_form=True)
    yield made
    made.close()


def test_the_questions_are_many_and_varied():
    assert len({one["question"] for one in ASKED}) >= 60
    assert len({one["subject"] for one in ASKED}) == 7
    assert sum(bool(one["unfinished"]) for one in ASKED) >= 50


def test_finished_answers_are_right_and_unfinished_ones_are_not(finished):
    right = [put(one["question"], one["gold"], each) for one in ASKED for each in (one["gold"], *one["also"])]
    wrong = [put(one["question"], one["gold"], each) for one in ASKED for each in one["unfinished"]]
    judged = finished.judge(right + wrong)
    assert not [attempt for attempt, verdict in zip(right, judged, strict=False) if not verdict.right]
    assert not [attempt for attempt, verdict in zip(wrong, judged[len(right) :], strict=True) if verdict.right]
    assert all(verdict.scored for verdict in judged)


def test_a_copy_of_the_question_is_right_only_where_the_answer_stands_in_it(finished, any_form):
    copies = [put(one["question"], one["gold"], part) for one in ASKED for part in stretches(one["question"])]
    equal = [copy for copy, verdict in zip(copies, any_form.judge(copies), strict=True) if verdict.right]
    passed = [copy for copy, verdict in zip(equal, finished.judge(equal), strict=True) if verdict.right]
    assert len({copy.prompt for copy in equal}) >= 35  # what most graders let pass
    assert len({copy.prompt for copy in passed}) <= 10
    for copy in passed:
        assert copy.gold in copy.completion, copy


@pytest.mark.parametrize(
    ("question", "gold", "answer"),
    [
        ("Simplify $2x+3y$.", "2x+3y", "2x+3y"),  # the gold answer's own form
        ("Simplify $2x+3y$.", "3y+2x", "2x+3y"),
        ("A box holds 10 apples. How many apples are there?", "10", r"10\text{ apples}"),
        ("A car goes 5 m in one second. How fast is it?", r"5\text{ m/s}", "5"),
        ("Is $2$ or $3$ larger?", "3", "x = 3"),
        ("What is half of 3?", "1.5", r"1\frac12"),
        ("What is half of 3?", "1.5", r"\frac{3}{2}"),
        ("How many are there?", "1500000", r"1.5 \times 10^6"),
        ("How many are there?", "1500000", r"1.5\text{ million}"),
        ("How many are there?", "1024", "4^5"),
        ("Find $m+n$.", "113", "m+n=100+13=113"),
        ("Find $n$.", "113", "113=n"),
        ("Find $x$.", r"\frac{1}{12}", r"x=\frac{1}{12} \approx 0.083"),
        ("Find $x$.", "0", "x = 0"),
        ("Find $n$ if $n!=120$.", "120", "n!=120"),
        ("Find both roots of $x^2-3x+2$.", "1, 2", "x=1, x=2"),
        ("Find the line.", "y=2x+3", "2x-y+3=0"),
        ("Find the line through $(0,1)$ and $(1,3)$.", "y=2x+1", "2x-y+1=0"),
        ("What is left of $3^5$, divided by 7?", "5", r"3^5 \equiv 5 \pmod 7"),
        ("What is the greatest common divisor?", "42", r"\gcd(84,126)=42"),
        (r"Find $\cos x$ and $\sin x$.", "0.6, 0.8", r"\cos x = 0.6, \sin x = 0.8"),
        ("For which $k$ has it no root?", "(-6,6)", "|k|<6"),
        ("What is the range?", "[-5,5]", r"\{y \mid -5 \le y \le 5\}"),
        (r"Find $x$ modulo 12.", r"x \equiv 5 \pmod{12}", r"x=12k+5, k\in\mathbb{Z}"),
        ("Write it in scientific notation or as a decimal.", r"6.4 \times 10^{-5}", "0.000064"),
        ("Where is it negative?", "(-1, 2)", "-1<x<2"),
        ("Find the point.", r"(-\frac12, 3)", "(-0.5, 3)"),
        ("Find the matrix.", r"\begin{pmatrix}-1&2\end{pmatrix}", r"\begin{pmatrix} -1 & 2\end{pmatrix}"),
        ("For which x?", r"(3,\infty)", r"\{x | x>3\}"),
        ("Find the mean.", r"\frac{a+b}{2}", r"(a+b)/2"),
        ("Compute the sum.", r"\frac{n(n+1)}{2}", r"\binom{n+1}{2}"),
        ("Compute it.", r"\ln 2", r"\frac12\ln 4"),
        ("Find it.", r"\tan 1", r"\frac{\sin 1}{\cos 1}"),
        ("Find the root.", r"\sqrt{2}+\sqrt{3}", r"\sqrt{5+2\sqrt6}"),
        ("How fast is it?", "0.375", r"\frac{3}{8}\text{ m/s}"),
        ("How fast is it?", r"\frac{3}{8}", "0.375 km/h"),
        ("Find both.", "0.5, 0.25", r"\frac12, \frac14"),
        ("Find both.", r"\frac12, \frac14", "0.5, 1/4"),
        ("Which letter? (a) 5 (b) 12 A box is not a cone.", "B", "(b)"),
        ("Which letter? (A) 5 (B) 12", "B", "b"),
        ("Which letter? (A) 5 (B) 12", "B", "(B) 12"),
        ("Which letter? (A) 5 (B) 12", "12", "(B) 12"),
        ("Which number? (A) 5 (B) 12 (C) 7", "B", "12"),
        ("Which number? (A) 5 (B) 12 (C) 7", "12", "B"),
        ("Which vector?", "(3, -2)", r"3\mathbf{i} - 2\mathbf{j}"),
        ("When is that?", r"\text{March 4, 2021}", "2021-03-04"),
        ("In which order?", "0.35, 0.405, 0.5", "0.35 < 0.405 < 0.5"),
        ("Find $x$ with $3x = 1$ modulo 5.", "2", r"2 \pmod 5"),
        ("Solve $2x+1=2$.", r"\frac12", r"\left(\frac{1}{2}\right)"),
        ("Find it.", r"-\frac12", r"\frac{-1}{2}"),
        ("Find it.", r"\frac{1}{1024}", r"\left(\frac12\right)^{10}"),
        ("Find it.", "5+i", "i+5"),
        ("The line $y=2x+1$ is moved.", "2x+1", "y=2x+1"),
        ("Is it even?", r"\text{Yes}", "yes"),
        (r"Add $\frac{5}{4}+\frac{3}{2}$.", r"\frac{11}{4}", r"2\frac{3}{4}"),  # the same numbers, but no part of it
        (r"Add $5/4 + 3/2$.", "2.75", "2 3/4"),
        ("Square 3 and subtract $2^3$ from 17.", "9", "3^2"),
        (r"How often does $3.0 \times 10^{8}$ go into $3.0 \times 10^{16}$?", "1e8", r"1.0 \times 10^{8}"),
        (r"How often does $3.0 \times 10^{8}$ go into $3.0 \times 10^{16}$?", "100000000", "10^8"),
        (r"What is $9 \times 10^{-3}$ m in units of 9 m?", "0.001", "10^{-3}"),
        (r"How fast is light, if it goes $3 \times 10^8$ m a second?", "3e8", r"3.0 \times 10^{8}"),
        ("\ud800 @ # `", "5", "5"),
    ],
)
def test_forms_that_count(question, gold, answer):
    assert is_finished(question, gold, answer)


@pytest.mark.parametrize(
    ("question", "gold", "answer"),
    [
        (r"Simplify $\dfrac{84}{126}$, please @home #1.", r"\frac23", r"\frac{84}{126}"),  # whatever else is in it
        ("Compute 7*8 - 6.", "50", "7*8-6"),
        ("Compute 7*8 - 6.", "50", "56-6"),
        ("Compute 7*8 - 6.", "50", "x = 56-6"),
        ("Compute 7*8 - 6.", "50", r"\frac{100}{2}"),
        ("Compute 7*8 - 6.", "50", r"(5)(10)"),
        ("Compute 7*8 - 6.", "50", r"\left|-50\right|"),
        ("Compute 7*8 - 6.", "50", r"\max(50, 1)"),
        ("Compute 7*8 - 6.", "50", r"\sqrt{2500}"),
        ("Find both.", "(1, 2)", r"(1, \sqrt{4})"),
        ("Find both.", "1, 2", "x=1, y=1+1"),
        (r"Expand $(x-1)^2$.", "x^2-2x+1", "y = (x-1)^2"),
        (r"Expand $(x-1)^2$.", "x^2-2x+1", r"1\cdot (x-1)^{2}+0"),
        (r"What is the area under the curve?", r"\frac{x^3}{3}", r"\int_0^x t^2 dt"),
        (r"What is the angle?", r"\frac{\pi}{4}", r"\arctan 1"),
        ("Find it.", "0.375", r"\frac{\frac{3}{4}}{2}"),
        ("Find it.", "0.375", "3/4/2"),
        ("Write $2x-y+1=0$ in slope-intercept form.", "y=2x+1", "2x-y+1=0"),
        ("Write $2x-y+1=0$ in slope-intercept form.", "y=2x+1", "-y+2x+1=0"),
        ("Find the remainder.", "3", r"10 \bmod 7"),
        (r"Simplify $\sqrt{72}$.", r"6\sqrt{2}", r"3\sqrt{8}"),
        (r"Simplify $\frac{x^2-9}{x-3}$.", "x+3", r"\frac{(x-3)(x+3)}{x-3}"),
        (r"Simplify $\frac{6x^2}{3x}$.", "2x", r"\frac{2x^2}{x}"),
        ("Simplify $2(x+3)+4x$.", "6x+6", "2x+6+4x"),
        (r"Simplify $\sqrt{12}+\sqrt{27}$.", r"5\sqrt{3}", r"2\sqrt{3}+3\sqrt{3}"),
        (r"Evaluate $\sqrt{50}-\sqrt{8}$ in simplest form.", r"3\sqrt{2}", r"-\sqrt{8}+\sqrt{50}"),
        ("Combine: $3a+2b-a$.", "2a+2b", "3a-a+2b"),
        ("Reduce $6:8$.", "3:4", "6:8"),
        ("What is $15\\%$ as a decimal?", "0.15", r"15\%"),
        ("Evaluate $2^{-3}$.", r"\frac18", "2^{-3}"),
        ("Find it.", r"\frac38", r"\frac{1.5}{4}"),
        (r"Write ½ as a decimal.", "0.5", r"\frac12"),
        (r"Add $\frac{5}{4}+\frac{3}{2}$.", r"\frac{11}{4}", r"\frac{3}{2}+\frac{5}{4}"),
        (r"Write $2\frac{3}{4}$ as a decimal.", "2.75", r"2\frac34"),
        ("Write $2 3/4$ as an improper fraction.", r"\frac{11}{4}", r"2\frac{3}{4}"),
        ("Compute $(2^3)^2$.", "64", "(2^3)^2"),
        (r"Compute $2^3 \cdot 10^2$.", "800", r"10^2 \cdot 2^3"),
        (r"Compute $2^3 \cdot 5 \cdot 10^2$.", "4000", r"5 \cdot 2^3 \cdot 10^2"),
        ("Evaluate $10^8$.", "100000000", r"1.0 \times 10^8"),
        ("Evaluate $1e8$.", "100000000", "10^8"),
        (r"Evaluate $1.0 \times 10^8$.", "100000000", "10^8"),
        (r"Write $3 \times 10^8$ in standard form.", "300000000", "3e8"),
        (r"Write $3 \times 10^8$ in standard form.", "300000000", r"3.0 \times 10^{8}"),
    ],
)
def test_forms_that_do_not(question, gold, answer):
    assert not is_finished(question, gold, answer)


def test_an_unfinished_answer_is_wrong_and_not_unscored(finished, any_form):
    copy = put(r"Compute $\tan 60^\circ$.", r"\sqrt{3}", r"\tan 60^\circ")
    (verdict,) = finished.judge([copy])
    assert (verdict.reward, verdict.scored, verdict.right, verdict.answer) == (0.0, True, False, r"\tan 60^\circ")
    assert any_form.judge([copy])[0].right


def test_the_term_any_form_lets_all_pass():
    made = make_reward(make_config(terms={"mathematics_any_form": 1.0}), 20)
    found = made.judge([boxed("5", "2+3"), boxed("5", r"\frac{10}{2}"), boxed("5", "6")])
    assert [verdict.right for verdict in found] == [True, True, False]
    default = make_reward(make_config(terms={"mathematics": 1.0}), 20)
    assert [verdict.right for verdict in default.judge([boxed("5", "2+3"), boxed("5", "5")])] == [False, True]


def test_looking_at_the_form_takes_no_time():
    question = "Compute " + " + ".join(rf"$\frac{{{n}}}{{7}}x^{n}$" for n in range(200))
    for answer in ("+".join("x" * 400), "-" * 900 + "1", r"\frac" * 150 + "12", "(" * 400 + "1" + ")" * 400, "=" * 900):
        assert takes_at_most(0.1, partial(is_finished, question, "x^2+1", answer))
