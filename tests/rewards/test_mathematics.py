"""The mathematical reward: labelled pairs, and that nothing undecided is a 0."""

import collections

import pytest

from grpo_jax.rewards import Verdict
from grpo_jax.rewards.mathematics.reward import Mathematics
from tests.rewards.helpers import LABELLED, attempt, boxed, make_config


@pytest.fixture(scope="module")
def mathematics():
    made = Mathematics(make_config(seconds=20.0))  # the machine may be busy
    yield made
    made.close()


def test_every_labelled_pair_is_judged_as_it_is_labelled(mathematics):
    assert len(LABELLED) >= 300
    verdicts = mathematics.judge([boxed(pair["gold"], pair["answer"]) for pair in LABELLED])
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
    assert len({(pair["gold"], pair["answer"]) for pair in LABELLED}) == len(LABELLED)


@pytest.mark.trap(16)
def test_what_cannot_be_decided_is_unscored_and_counted():
    made = Mathematics(make_config(seconds=0.5))
    attempts = [
        boxed("5", "5"),
        boxed(r"\bigstar", "5"),
        boxed("5", "9^{9^{9}}"),
        boxed("5", r"\sqrt{25}"),
        boxed("5", "1+" * 1000 + "1"),
        boxed("5", r"\sum_{k=1}^{10^9} \sin k"),
        boxed("5", "6"),
    ]
    verdicts = made.judge(attempts)
    made.close()
    assert [verdict.scored for verdict in verdicts] == [True, False, False, True, False, False, True]
    assert [verdict.right for verdict in verdicts] == [True, None, None, True, None, None, False]
    assert [verdict.reward for verdict in verdicts] == [1, 0, 0, 1, 0, 0, 0]
    assert verdicts[1].answer == "5"
    assert made.unscored.pop("timed_out", 0) + made.unscored.pop("killed", 0) == 1
    assert made.unscored == {"unparsable_gold": 1, "too_large": 1, "too_long": 1}


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
    monkeypatch.setattr(made._pool, "judge", lambda pairs: asked.extend(pairs) or ["right"] * len(pairs))
    pair = boxed(r"\sqrt{8}", r"2\sqrt{2}")
    assert all(verdict.right for verdict in made.judge([pair, pair, pair]))
    made.judge([pair])
    assert asked == [(r"\sqrt{8}", r"2\sqrt{2}")]
    made.close()


def test_a_time_out_is_not_remembered(monkeypatch):
    made = Mathematics(make_config())
    answers = iter([["timed_out"], ["right"]])
    monkeypatch.setattr(made._pool, "judge", lambda pairs: next(answers))
    pair = boxed(r"\sqrt{8}", r"2\sqrt{2}")
    assert not made.judge([pair])[0].scored
    assert made.judge([pair])[0].right
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
