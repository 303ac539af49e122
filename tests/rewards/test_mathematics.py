"""The mathematical reward: labelled pairs, and that nothing undecided is a 0."""

import collections

import pytest

from grpo_jax.rewards import Verdict
from grpo_jax.rewards.mathematics.asked import interpreted
from grpo_jax.rewards.mathematics.judging import outcome_of
from grpo_jax.rewards.mathematics.reward import Mathematics
from tests.rewards.helpers import LABELLED, attempt, boxed, labelled, make_config


@pytest.fixture(scope="module")
def mathematics():
    made = Mathematics(make_config(seconds=20.0), any_form=True)
    yield made
    made.close()


@pytest.fixture(scope="module")
def impatient():
    made = Mathematics(make_config(seconds=0.3))
    yield made
    made.close()


def test_every_labelled_pair_is_judged_as_it_is_labelled(mathematics):
    assert len(LABELLED) >= 300
    verdicts = mathematics.judge([labelled(pair) for pair in LABELLED])
    judged = ["unscored" if not verdict.scored else "right" if verdict.right else "wrong" for verdict in verdicts]
    missed = [(pair, was) for pair, was in zip(LABELLED, judged, strict=True) if pair["label"] != was]
    assert not missed
    assert all(
        verdict.reward == float(pair["label"] == "right") for verdict, pair in zip(verdicts, LABELLED, strict=True)
    )


def test_the_labelled_pairs_are_of_many_kinds_both_right_and_wrong():
    labels = collections.defaultdict(set)
    for pair in LABELLED:
        labels[pair["kind"]].add(pair["label"])
    both = {kind for kind, found in labels.items() if found == {"right", "wrong"}}
    assert len(both) >= 30
    assert both >= {"= chain", "tiny", "units", "mixed number", "digit groups", "repeating"}
    assert len({(pair.get("question"), pair["gold"], pair["answer"]) for pair in LABELLED}) == len(LABELLED)


BEYOND_LIMITS = [
    "9^{9^{9}}",
    "1+" * 1000 + "1",
    "5" * 5000,
    r"\sum_{k=1}^{10^9} \sin k",
    r"\frac{1}{" * 25 + "5" + "}" * 25,
    "+".join([r"\sqrt[3]{7^{1401}}"] * 50),
]


@pytest.mark.parametrize("gold", ["5", "x=5", r"\sqrt{7}", "(1, 2)", r"5\text{ cm}", "x^2+1", "A", r"\text{even}"])
def test_an_answer_beyond_the_limits_is_wrong(impatient, gold):
    """Were it unscored, it would escape the reward of 0."""
    verdicts = impatient.judge([boxed(gold, answer) for answer in BEYOND_LIMITS])
    assert [(verdict.scored, verdict.right) for verdict in verdicts] == [(True, False)] * len(BEYOND_LIMITS)
    assert not impatient.unscored


def test_what_the_question_asks_for_need_not_have_a_value(impatient):
    """It is only compared with names, whatever it is."""
    question = r"Evaluate $\int_0^1 \bigstar(x) dx$."
    pairs = [
        boxed("5", answer, question) for answer in (r"\int_0^1 \bigstar(x) dx = 5", "6", "5" * 5000, BEYOND_LIMITS[0])
    ]
    assert [(verdict.scored, verdict.right) for verdict in impatient.judge(pairs)] == [
        (True, True),
        *[(True, False)] * 3,
    ]


def test_the_longest_sets_are_compared_in_any_order():
    made = Mathematics(make_config())
    numbers = [str(37 * number + 5) for number in range(64)]
    gold, turned, other = (rf"\{{{', '.join(each)}\}}" for each in (numbers, numbers[::-1], [*numbers[1:], "4"]))
    assert made.compare([(gold, turned), (gold, other)]) == ["right", "wrong"]
    assert not made._pool._all


@pytest.mark.trap(16)
def test_what_no_answer_could_change_is_unscored_and_counted():
    made = Mathematics(make_config(seconds=0.3))
    golds = [r"\bigstar", "9^{9^{9}}", "1+" * 1000 + "1", r"\sum_{k=1}^{10^9} \sin k", r"\frac{1}{0}"]
    attempts = [boxed(gold, answer) for gold in golds for answer in ("5", "5" * 5000, r"\sqrt{2}")]
    verdicts = made.judge(attempts)
    made.close()
    assert [(verdict.scored, verdict.right, verdict.reward) for verdict in verdicts] == [(False, None, 0)] * 15
    assert verdicts[0].answer == "5"
    assert made.unscored == {"unparsable_gold": 6, "too_large": 3, "too_long": 3, "timed_out": 3}


def test_of_each_reason_one_answer_is_reported(caplog):
    made = Mathematics(make_config())
    made.compare([("5", "9^{9^{9}}"), ("6", "9^{9^{9}}"), ("5", "5" * 5000), ("5", "4")])
    assert [record.message[:52] for record in caplog.records] == [
        "an answer that cannot be compared (too_large) is wro", "an answer that cannot be compared (too_long) is wron"
    ]  # fmt: skip


def test_a_gold_answer_that_nobody_can_read_makes_the_same_text_right_and_nothing_wrong(mathematics):
    verdicts = mathematics.judge([boxed(r"\bigstar \square", r"$\bigstar\square$"), boxed(r"\bigstar \square", "1")])
    assert verdicts[0].right
    assert not verdicts[1].scored


def test_no_answer_is_wrong(mathematics):
    assert mathematics.judge([attempt("5", "It is 5.")]) == [Verdict(0.0, None, right=False)]


def test_a_completion_that_was_cut_off_is_judged_by_its_text(mathematics):
    cut = attempt("5", r"\boxed{5} because", stopped=False)
    assert mathematics.judge([cut])[0].right


def test_a_pair_is_compared_once(monkeypatch):
    made = Mathematics(make_config())
    asked = []
    monkeypatch.setattr(made._pool, "outcomes", lambda pairs: asked.extend(pairs) or ["right"] * len(pairs))
    pair = boxed(r"\sqrt{8}", r"2\sqrt{2}")
    assert all(verdict.right for verdict in made.judge([pair, pair, pair]))
    made.judge([pair])
    assert asked == [(interpreted(pair.prompt, r"\sqrt{8}"), r"2\sqrt{2}")]
    made.close()


@pytest.mark.parametrize("reason", ["killed", "stuck"])
def test_what_was_ended_from_outside_is_unscored_and_not_remembered(monkeypatch, reason):
    made = Mathematics(make_config())
    answers = iter([[reason], ["right"]])
    monkeypatch.setattr(made._pool, "outcomes", lambda pairs: next(answers))
    pair = boxed(r"\sqrt{8}", r"2\sqrt{2}")
    assert not made.judge([pair])[0].scored
    assert made.unscored == {reason: 1}
    assert made.judge([pair])[0].right
    made.close()


@pytest.mark.parametrize("reason", ["timed_out", "memory", "crashed", "error"])
def test_whether_a_failure_is_the_answers_is_asked_of_the_gold_answer_alone(monkeypatch, reason):
    made = Mathematics(make_config())
    alone = {r"\sqrt{8}": "wrong", r"\sqrt{7}": "timed_out", r"\sqrt{6}": "killed"}
    monkeypatch.setattr(
        made._pool, "outcomes", lambda pairs: [reason if answer else alone[gold] for gold, answer in pairs]
    )
    assert made.compare([(gold, r"2\sqrt{2}+x") for gold in alone]) == list(alone.values())
    made.close()


def test_easy_answers_need_no_process():
    made = Mathematics(make_config())
    easy = [
        ("1,234", "1234"),
        (r"\frac{1}{2}", "0.5"),
        ("(1,2)", "(2,1)"),
        (r"5\text{ cm}", "5"),
        ("x=3", "3"),
        ("A", "(B)"),
    ]
    made.judge([boxed(*pair) for pair in easy])
    assert not made._pool._all
    made.close()


@pytest.mark.parametrize(
    ("gold", "right", "wrong"),
    [
        ("12", (r"\text{twelve}", "Twelve"), (r"\text{twelve dozen}", "twenty", "twelve less")),
        ("21", ("twenty-one", "twenty one"), ("twenty-two", "twenty")),
        (r"\text{seven}", ("7", "seven"), ("seventeen", "17")),
        ("-8", (r"\text{negative eight}", r"\text{minus } 8"), (r"\text{eight}", r"\text{minus } 9")),
        (r"\text{ellipse}", (r"\text{an ellipse}", r"\text{It is an ellipse}"), (r"\text{not an ellipse}",)),
    ],
)
def test_numbers_may_be_spelt_out(gold, right, wrong):
    assert [outcome_of(gold, answer) for answer in right] == ["right"] * len(right)
    assert [outcome_of(gold, answer) for answer in wrong] == ["wrong"] * len(wrong)


def test_a_number_before_a_matrix_multiplies_it():
    gold = r"\begin{pmatrix}1/2&0\\0&x/4\end{pmatrix}"
    for factor in (r"\frac14", r"\frac14 \cdot", "0.25"):
        assert outcome_of(gold, factor + r"\begin{bmatrix}2&0\\0&x\end{bmatrix}") == "right"
    for answer in (r"\frac14\begin{pmatrix}2&0\\0&1\end{pmatrix}", rf"\frac14{gold}", rf"-{gold}", rf"{gold}{gold}"):
        assert outcome_of(gold, answer) == "wrong"
