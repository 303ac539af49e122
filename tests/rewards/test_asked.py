"""What a question says of its gold answer: order, point or interval, one number or two."""

import pytest

from grpo_jax.rewards.mathematics.asked import interpreted


@pytest.mark.parametrize(
    ("question", "gold", "marked"),
    [
        ("Find all roots of the polynomial.", "1, 2", "1, 2"),
        ("List the roots in increasing order.", "1, 2", r"\ordered 1, 2"),
        ("What are the first three terms?", "2, 4, 8", r"\ordered 2, 4, 8"),
        ("Find all ordered pairs $(x, y)$.", "(1, 2), (3, 4)", "(1, 2), (3, 4)"),
        ("For which values of $x$ is it positive?", "(1, 2)", r"\interval (1, 2)"),
        ("At which point do the lines intersect, and for which $x$?", "(1, 2)", "(1, 2)"),
        ("", "(1, 2)", "(1, 2)"),
        ("Find both solutions, separated by commas.", "100,200", "100, 200"),
        ("How many are there?", "100,200", "100,200"),
        ("", "100,200", "100, 200"),
        ("", "200,100", "200,100"),
        ("", "12,500", "12,500"),
    ],
)
def test_the_question_marks_its_gold_answer(question, gold, marked):
    assert interpreted(question, gold) == marked


def test_a_mark_changes_no_answer_that_it_marks_again():
    for gold in ("1, 2", "(1, 2)", "100,200"):
        marked = interpreted("For which values, in increasing order, separated by commas?", gold)
        assert interpreted("", marked) == marked
